"""Tests of the settings' layers, of what is refused, and of the code's version."""

from pathlib import Path

import pytest
import yaml

from deepmusic_genre.errors import PipelineInputError
from pipeline.settings import DEFAULTS, load_settings
from tests.support.tracks import GENRES

pytestmark = pytest.mark.fast


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _fault(*assignments: str, file: Path | None = None) -> str:
    with pytest.raises(PipelineInputError) as caught:
        load_settings(file, assignments)
    return str(caught.value)


# Layers


def test_defaults_load_and_leave_nothing_out() -> None:
    settings = load_settings()
    assert settings.genres == GENRES
    assert settings.data.path is None
    given = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    assert settings.model_dump(include=given.keys()).keys() == given.keys()
    assert settings.model_dump(mode="json")["training"] == given["training"]
    assert settings.models.model_dump() == given["models"]


def test_file_wins_over_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(_file(tmp_path, "name: mine\ntuning:\n  trials: 7\n"))
    assert (settings.name, settings.tuning.trials) == ("mine", 7)


@pytest.mark.parametrize("option", ["--s3_secret_access_key", "--s3_session_token", "--azure_connection_string"])
def test_secret_among_beams_options_is_refused_without_showing_it(option: str) -> None:
    with pytest.raises(PipelineInputError) as caught:
        load_settings(assignments=[f"beam.args=[--runner=FnApiRunner, {option}=hush]"])
    assert f"beam.args: {option} is a secret" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_file_keeps_the_defaults_that_it_does_not_name(tmp_path: Path) -> None:
    settings = load_settings(_file(tmp_path, "training: {seed: 7}"))
    assert settings.training == load_settings().training.model_copy(update={"seed": 7})


def test_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_settings(_file(tmp_path, "# nothing yet\n")) == load_settings()


def test_assignments_win_over_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "models: {c1m1: {epochs: 7, batch_size: 3}}")
    c1m1 = load_settings(file, ["models.c1m1.epochs=8"]).models.c1m1
    assert (c1m1.epochs, c1m1.batch_size) == (8, 3)


def test_last_assignment_wins() -> None:
    assert load_settings(assignments=["training.seed=8", "training.seed=9"]).training.seed == 9


def test_texts_win_over_assignments() -> None:
    settings = load_settings(assignments=["name=one", "training.seed=8"], texts={"name": "two"})
    assert (settings.name, settings.training.seed) == ("two", 8)


def test_assignments_are_yaml() -> None:
    settings = load_settings(assignments=["genres=[Jazz, Rock]", "data.max_segments=null", "schema_file=a=b.pbtxt"])
    assert settings.genres == ("Jazz", "Rock")
    assert settings.data.max_segments is None
    assert settings.schema_file == str(Path("a=b.pbtxt").absolute())


def test_texts_are_taken_to_the_letter() -> None:
    settings = load_settings(texts={"data.path": "/music: [old] #1", "name": "07"})
    assert (settings.data.path, settings.name) == ("/music: [old] #1", "07")


def test_list_replaces_the_default_list() -> None:
    assert load_settings(assignments=["genres=[A, B]"]).genres == ("A", "B")


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(texts={"data.path": "music", "data.labels": "l.csv", "output": "out", "schema_file": "s"})
    found = (settings.data.path, settings.data.labels, settings.output, settings.schema_file)
    assert found == tuple(str(tmp_path / name) for name in ("music", "l.csv", "out", "s"))


def test_absolute_paths_stay(tmp_path: Path) -> None:
    assert load_settings(texts={"data.path": str(tmp_path)}).data.path == str(tmp_path)


def test_addresses_of_a_remote_file_system_stay() -> None:
    assert load_settings(texts={"data.path": "gs://bucket/music/"}).data.path == "gs://bucket/music"


def test_artifacts_and_pushed_versions_go_to_the_storage_if_there_is_one() -> None:
    settings = load_settings(texts={"output": "/out", "name": "mine"})
    assert (settings.artifacts, settings.pushed) == ("/out/mine/artifacts", "/out/mine/pushed")
    settings = load_settings(texts={"output": "/out", "name": "mine", "storage": "gs://bucket/deep"})
    assert settings.home == "/out/mine"
    assert (settings.artifacts, settings.pushed) == (
        "gs://bucket/deep/mine/artifacts",
        "gs://bucket/deep/mine/pushed",
    )


def test_metadata_locks_and_logs_stay_on_this_machine() -> None:
    assert "output = 'gs://bucket/out': it has to be a folder of this machine, for metadata" in _fault(
        "output=gs://bucket/out"
    )
    assert "storage = 'gs://': it is empty" in _fault("storage=gs://")


def test_columns_of_labels_are_named_by_what_they_hold() -> None:
    assert load_settings().data.label_columns == {}
    for assignment in ("data.label_columns={genre: style}", "data.label_columns.genre=style"):
        assert load_settings(assignments=[assignment]).data.label_columns == {"genre": "style"}
    assert "data.label_columns.gender" in _fault("data.label_columns={gender: style}")
    assert "data.label_columns.genre" in _fault("data.label_columns={genre: ''}")


def test_labels_without_data_are_refused_instead_of_forgotten() -> None:
    with pytest.raises(PipelineInputError, match=r"data\.labels = .*labels need data\.path"):
        load_settings(texts={"data.labels": "labels.csv"})


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["data.spans=2"], "data.spans = 2: it needs {SPAN} in data.path"),
        (["data.path=/music", "data.spans=2"], "data.spans = 2: it needs {SPAN} in data.path"),
        (["data.path=/music/{SPAN}", "data.spans=0"], "data.spans = 0: Input should be greater than or equal to 1"),
        (["data.path=/{SPAN}/{SPAN:2}"], "{SPAN} stands in it more than once"),
        (["data.path=/music", "data.labels=/{SPAN}.csv"], "{SPAN} stands in it, and not in data.path"),
    ],
    ids=["demo", "no spans", "none", "twice", "labels alone"],
)
def test_spans_without_a_place_for_their_number_are_refused(assignments: list[str], message: str) -> None:
    assert message in _fault(*assignments)


def test_an_output_that_would_be_taken_for_a_pattern_is_refused() -> None:
    with pytest.raises(PipelineInputError, match="patterns"):
        load_settings(texts={"output": "runs[1]"})


def test_home_is_the_name_below_the_output() -> None:
    assert load_settings(texts={"output": "/out", "name": "mine"}).home == "/out/mine"


# What is refused


def test_unknown_key_is_refused_naming_it_and_those_there_are() -> None:
    message = _fault("trainning=1")
    assert "trainning is not a setting" in message
    assert all(known in message for known in ("training", "data", "genres", "output"))


@pytest.mark.parametrize(
    ("assignment", "place", "known"),
    [
        ("models.c1m1.epoch=1", "models.c1m1.epoch is", "epochs, learning_rate, min_delta"),
        ("data.labls=x", "data.labls is", "labels, max_rejected_share"),
        ("beam.runner=x", "beam.runner is", "args"),
    ],
)
def test_unknown_nested_key_is_refused_naming_it_and_its_siblings(assignment: str, place: str, known: str) -> None:
    message = _fault(assignment)
    assert place in message
    assert known in message
    assert "schema_file" not in message


def test_unknown_key_of_a_file_is_refused(tmp_path: Path) -> None:
    assert "training.sead is not a setting" in _fault(file=_file(tmp_path, "training: {sead: 1}"))


@pytest.mark.parametrize(
    ("assignment", "place"),
    [
        ("models.c1m1.epochs=0", "models.c1m1.epochs = 0"),
        ("models.c1m1.epochs=many", "models.c1m1.epochs = 'many'"),
        ("models.c1m1.epochs=1.5", "models.c1m1.epochs = 1.5"),
        ("models.c2m1.batch_size=-1", "models.c2m1.batch_size = -1"),
        ("models.c1m2.learning_rate=0", "models.c1m2.learning_rate = 0"),
        ("models.c1m1.dropout=1", "models.c1m1.dropout = 1"),
        ("tuning.trials=0", "tuning.trials = 0"),
        ("training.sampling=up", "training.sampling = 'up'"),
        ("training.balance=yes", "training.balance = True"),
        ("evaluation.confidence=1", "evaluation.confidence = 1"),
        ("evaluation.resamples=5", "evaluation.resamples = 5"),
        ("evaluation.min_genre_f1={Polka: 0.5}", "evaluation: "),
        ("evaluation.min_genre_f1={Rock: 2}", "evaluation.min_genre_f1.Rock = 2"),
        ("training.seed=-1", "training.seed = -1"),
        ("training.models=[c9]", "training.models.0 = 'c9'"),
        ("training.models=[]", "training.models = []"),
        ("training.models=[c1m1, c1m1]", "training.models = "),
        ("training=3", "training = 3"),
        ("data.max_rejected_share=1.5", "data.max_rejected_share = 1.5"),
        ("data.max_rejected_share=-0.1", "data.max_rejected_share = -0.1"),
        ("data.max_rejected_share=.nan", "data.max_rejected_share = nan"),
        ("evaluation.max_accuracy_drop=2", "evaluation.max_accuracy_drop = 2"),
        ("data.split_by=album", "data.split_by = 'album'"),
        ("data.max_segments=0", "data.max_segments = 0"),
        ("genres=[Rock]", "genres = ['Rock']"),
        ("genres=[]", "genres = []"),
        ("genres=Rock", "genres = 'Rock'"),
        ("genres=[Rock, Pop, Rock]", "genres = "),
        ("genres=[Rock, rock]", "genres = "),
        ("genres=[Hip-Hop, hip_hop]", "genres = "),
        ("genres=['', Rock]", "genres"),
        ("genres=['!', Rock]", "genres"),
        ("name=a/b", "name = 'a/b'"),
        ("name=..", "name = '..'"),
        ("name=''", "name = ''"),
        ("output=null", "output = None"),
        ("spotify.max_wait_seconds=-1", "spotify.max_wait_seconds = -1"),
        ("spotify.patience_seconds=-1", "spotify.patience_seconds = -1"),
        ("spotify.requests_per_second=0", "spotify.requests_per_second = 0"),
        ("spotify.api_url=http://example.org", "spotify.api_url = 'http://example.org'"),
        ("spotify.max_tracks_per_playlist=0", "spotify.max_tracks_per_playlist = 0"),
        ("spotify.store=gs://bucket/store", "spotify.store = 'gs://bucket/store'"),
        ("spotify.playlists={Polka: []}", "spotify: playlists names Polka"),
        ("spotify.playlists={Jazz: [album]}", "spotify.playlists.Jazz.0 = 'album'"),
        ("spotify.client_secret=x", "spotify.client_secret is not a setting"),
    ],
)
def test_impossible_value_is_refused_naming_it(assignment: str, place: str) -> None:
    assert f"Settings: {place}" in _fault(assignment)


# Spotify

FIRST = "37i9dQZF1DXbITWG1ZJKYt"
ENABLED = ("spotify.enabled=true", "spotify.accept_policy=true", f"spotify.playlists={{Jazz: [{FIRST}]}}")


@pytest.mark.parametrize(
    "text",
    [
        FIRST,
        f" {FIRST} ",
        f"spotify:playlist:{FIRST}",
        f"spotify:user:some.one:playlist:{FIRST}",
        f"https://open.spotify.com/playlist/{FIRST}?si=abc",
        f"open.spotify.com/intl-de/playlist/{FIRST}",
        f"https://open.spotify.com/user/someone/playlist/{FIRST}",
    ],
)
def test_playlists_are_taken_by_id_address_and_uri(text: str) -> None:
    settings = load_settings(None, [f'spotify.playlists={{hiphop: ["{text}"]}}'])
    assert settings.spotify.request.playlists == {"hiphop": (FIRST,)}


def test_a_single_playlist_may_stand_alone() -> None:
    settings = load_settings(None, [f"spotify.playlists={{Jazz: {FIRST}}}"])
    assert settings.spotify.request.playlists == {"Jazz": (FIRST,)}


def test_the_ways_to_write_a_genre_are_one() -> None:
    playlists = f"{{hip hop: [{FIRST}], Jazz: [], Hip-Hop: [{FIRST[::-1]}]}}"
    settings = load_settings(None, [f"spotify.playlists={playlists}"])
    assert settings.spotify.request.playlists == {"hip hop": (FIRST, FIRST[::-1]), "Jazz": ()}


@pytest.mark.parametrize(
    "text",
    [
        "",
        FIRST[:-1],
        f"{FIRST}a",
        f"spotify:album:{FIRST}",
        f"https://open.spotify.com/album/{FIRST}",
        f"https://example.org/playlist/{FIRST}",
        f"{FIRST}/../x",
        f"{FIRST[:-1]}é",
    ],
)
def test_what_is_no_playlist_is_refused(text: str) -> None:
    assert "is no playlist" in _fault(f'spotify.playlists={{Jazz: ["{text}"]}}')


@pytest.mark.parametrize(
    ("genres", "places"),
    [(f"Jazz: [{FIRST}], Rock: ['spotify:playlist:{FIRST}']", "Jazz and Rock"), (f"Jazz: [{FIRST}, {FIRST}]", "Jazz")],
)
def test_a_playlist_stands_under_one_genre(genres: str, places: str) -> None:
    assert f"the playlist {FIRST} stands there twice, under {places}." in _fault(f"spotify.playlists={{{genres}}}")


def test_the_crawled_store_is_the_catalogue(tmp_path: Path) -> None:
    assert load_settings().catalogue.path is None
    home = load_settings(None, ENABLED).home
    settings = load_settings(None, ENABLED)
    assert (settings.catalogue.path, settings.catalogue.labels) == (
        f"{home}/spotify/analyses",
        f"{home}/spotify/labels.csv",
    )
    settings = load_settings(None, [*ENABLED, f"spotify.store={tmp_path}"])
    assert settings.catalogue.path == f"{tmp_path}/analyses"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("spotify.accept_policy=false", "forbids training machine-learning models on Spotify content"),
        ("spotify.playlists={Jazz: []}", "spotify.playlists: there is no playlist to crawl"),
        ("data.path=somewhere", "spotify: spotify.enabled and data.path both name a data source"),
    ],
)
def test_a_crawl_that_cannot_be_is_refused(assignment: str, message: str) -> None:
    assignments = [*ENABLED, assignment]
    if "{" in assignment:
        # A mapping is merged with what is there.
        assignments.remove(ENABLED[2])
    assert message in _fault(*assignments)


def test_every_fault_is_named_at_once() -> None:
    message = _fault("training.seed=x", "nothing=1", "data.split_by=x")
    assert all(place in message for place in ("training.seed", "nothing", "data.split_by"))


@pytest.mark.parametrize("text", ["a: [1", "training:\n\tepochs: 3\n", "a: b: c"])
def test_broken_yaml_is_refused_naming_the_file_and_the_line(tmp_path: Path, text: str) -> None:
    message = _fault(file=_file(tmp_path, text))
    assert f"{tmp_path / 'mine.yaml'} is not YAML" in message
    assert "line " in message


def test_file_that_is_not_utf8_is_refused_naming_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: caf\xe9")
    assert f"{path} is not YAML" in _fault(file=path)


def test_missing_file_is_refused_naming_it(tmp_path: Path) -> None:
    assert f"{tmp_path / 'no.yaml'} cannot be read: No such file" in _fault(file=tmp_path / "no.yaml")


def test_folder_as_file_is_refused_naming_it(tmp_path: Path) -> None:
    assert f"{tmp_path} cannot be read" in _fault(file=tmp_path)


@pytest.mark.parametrize("text", ["- name: mine", "mine", "3"])
def test_file_without_keys_is_refused_naming_it(tmp_path: Path, text: str) -> None:
    assert f"{tmp_path / 'mine.yaml'} holds no keys" in _fault(file=_file(tmp_path, text))


def test_assignment_without_a_value_is_refused() -> None:
    assert "'training.seed' is not of the form section.key=value" in _fault("training.seed")


def test_assignment_of_broken_yaml_is_refused() -> None:
    assert "'genres=[Rock' is not YAML" in _fault("genres=[Rock")


@pytest.mark.parametrize(
    ("genres", "expected"), [("[Jazz, Rock]", ("Jazz", "Rock", "Other")), ("[other, Rock]", ("other", "Rock"))]
)
def test_gathering_adds_the_genre_other_once(tmp_path: Path, genres: str, expected: tuple[str, ...]) -> None:
    path = _file(tmp_path, f"genres: {genres}\ndata: {{other_genres: gather}}\n")
    settings = load_settings(path)
    assert settings.genres == expected
    assert type(settings).model_validate(settings.model_dump()).genres == expected


def test_genres_are_as_listed_unless_others_are_gathered() -> None:
    assert "Other" not in load_settings().genres


@pytest.mark.parametrize("key", ["Hip-Hop", "hip hop"])
def test_further_names_of_genres_stand_in_the_settings_or_in_a_file_of_their_own(tmp_path: Path, key: str) -> None:
    names = _file(tmp_path, f"{key}: [rapp, 'hip hop/rap']\nRock: beat\n")
    expected = {"Hip-Hop": ("rapp", "hip hop/rap"), "Rock": ("beat",)}
    assert load_settings(None, [f"data.genre_names={names}"]).data.genre_names == expected
    inline = f"data.genre_names={{{key}: [rapp, hip hop/rap], Rock: beat}}"
    assert load_settings(None, [inline]).data.genre_names == expected


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ("{Polka: [x]}", "genre_names names Polka, which is not in genres"),
        ("{Rock: [jazz]}", "genre_names has jazz under Rock, but it is Jazz"),
        ("{Rock: [beat], Jazz: [Beat]}", "genre_names has Beat under Jazz, but it is Rock"),
        ("{Rock: ['-']}", "genre_names has a name without a letter"),
        ("/no/such.yaml", "The settings file /no/such.yaml cannot be read"),
    ],
)
def test_names_that_could_mean_two_genres_or_none_are_refused(names: str, fault: str) -> None:
    assert fault in _fault(f"data.genre_names={names}")


# Where metadata are


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hush@host/music",
        "postgresql://me:hu/sh@host:5432/music",
        "mysql://:hush@host/music",
        "postgresql://me@host/music?password=hush",
        "postgresql://me@host/music?sslmode=require&sslpassword=hush",
    ],
)
def test_password_in_an_address_is_refused_without_showing_it(address: str) -> None:
    told = _fault(f"metadata.database={address}")
    assert "metadata.database: a password stands in it" in told
    assert "DEEPMUSIC_METADATA_PASSWORD" in told
    assert "hush" not in told
    assert "hush" not in _fault(f"metadata={address}")


@pytest.mark.parametrize(
    "address", ["sqlite:///file", "postgresql://host/music", "postgresql://me@host", "mysql://me@host:0/music", "host"]
)
def test_address_that_is_none_is_refused(address: str) -> None:
    assert "metadata.database: it has to be of the form postgresql://user@host" in _fault(
        f"metadata.database={address}"
    )


def test_options_of_an_address_are_refused() -> None:
    assert "tunnel" in _fault("metadata.database=postgresql://me@host/music?sslmode=require")


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("postgresql://me@host/music", "postgresql://me@host:5432/music"),
        ("mysql://a.b@c@10.0.0.1/music_1", "mysql://a.b@c@10.0.0.1:3306/music_1"),
        ("postgresql://me@[::1]:6543/music", "postgresql://me@[::1]:6543/music"),
    ],
)
def test_address_of_a_server(given: str, whole: str) -> None:
    settings = load_settings(assignments=[f"metadata.database={given}"])
    assert settings.metadata.database == str(settings.metadata.address) == whole


@pytest.mark.parametrize("written", ["off", "'off'", "false"])
def test_off_is_off_however_yaml_reads_it(written: str, tmp_path: Path) -> None:
    assert load_settings(assignments=[f"analyser.pretrained={written}"]).analyser.pretrained == "off"
    file = tmp_path / "settings.yaml"
    file.write_text(f"analyser: {{pretrained: {written}}}\n")
    assert load_settings(file).analyser.pretrained == "off"
