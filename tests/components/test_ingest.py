"""Tests of reading and labelling files, and of the shards that they become."""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from components.track_example_gen.artists import Nobody
from components.track_example_gen.ingest import IngestConfig, ingest_shard, publish_shard, read_tracks
from components.track_example_gen.outcomes import EXAMPLES_FILE, read_outcomes
from components.track_example_gen.progress import Progress
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.store import ShardStore
from deepmusic_genre.tracks.labels import GenreNames, Label, Labels
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.ingestion import records
from tests.support.tracks import GENRES, analysis, write_analysis

pytestmark = pytest.mark.fast

CONFIG = IngestConfig(GENRES, None, ("unknown",), None, "drop")


def _ids(path: Path) -> list[str]:
    return [features["track_id"][0].decode() for features in records(path)]


# Reading and labelling


@pytest.mark.parametrize("name", ["x.json", "x.h5", "x.json.gz"])
def test_path_that_is_a_folder_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (item,) = read_tracks([str(tmp_path / name)], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert item.path == str(tmp_path / name)
    assert "cannot be read" in item.reason
    assert "directory" in item.reason


def test_file_that_vanished_is_rejected(tmp_path: Path) -> None:
    (item,) = read_tracks([str(tmp_path / "x.json")], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert "No such file" in item.reason


@pytest.mark.parametrize(
    ("name", "track_id"),
    [
        ("a.json", "a"),
        ("a.json.gz", "a"),
        ("A.JSON", "A"),
        ("a.b.json", "a.b"),
        ("mix.json.live.json", "mix.json.live"),
    ],
)
def test_track_without_an_id_is_called_by_its_files_name(tmp_path: Path, name: str, track_id: str) -> None:
    (item,) = read_tracks([str(write_analysis(tmp_path / name, analysis()))], None, GenreNames(GENRES))
    assert item.track_id == track_id


def test_label_is_found_by_the_id_in_the_file(tmp_path: Path) -> None:
    path = write_analysis(tmp_path / "name.json", analysis() | {"track_id": "inside"})
    labels = Labels({"inside": Label("rock", "inside"), "name": Label("Jazz", "name")})
    (item,) = read_tracks([str(path)], labels, GenreNames(GENRES))
    assert isinstance(item, Track)
    assert (item.track_id, item.genre) == ("inside", "Rock")


# A shard


def _shard(tmp_path: Path, paths: list[Path], name: str = "shard") -> Path:
    ingest_shard([str(path) for path in paths], None, CONFIG, str(tmp_path / name), Progress(1))
    return tmp_path / name


def _jazz(tmp_path: Path, count: int) -> list[Path]:
    folder = tmp_path / "Jazz"
    return [write_analysis(folder / f"{number}.json", analysis(number)) for number in range(count)]


def test_shard_has_a_outcome_a_track_in_order(tmp_path: Path) -> None:
    paths = _jazz(tmp_path, 5)
    paths[1].write_bytes(b"garbage")
    paths.append(write_analysis(tmp_path / "unlabelled.json", analysis(9)))
    outcomes = read_outcomes(str(_shard(tmp_path, paths)))
    assert [outcome.path for outcome in outcomes] == list(map(str, paths))
    assert [outcome.genre for outcome in outcomes] == ["Jazz", "", "Jazz", "Jazz", "Jazz", ""]
    assert [bool(outcome.reason) for outcome in outcomes] == [False, True, False, False, False, False]


def test_shards_records_stand_where_the_outcomes_say(tmp_path: Path) -> None:
    # More than the encoder takes at once.
    shard = _shard(tmp_path, _jazz(tmp_path, 70))
    ids = _ids(shard / EXAMPLES_FILE)
    outcomes = read_outcomes(str(shard))
    assert [ids[outcome.index] for outcome in outcomes] == [outcome.track_id for outcome in outcomes]
    assert len(ids) == 70


def test_whole_shard_is_not_read_again(tmp_path: Path) -> None:
    paths = _jazz(tmp_path, 3)
    before = read_outcomes(str(_shard(tmp_path, paths)))
    for path in paths:
        path.unlink()
    assert read_outcomes(str(_shard(tmp_path, paths))) == before


class Meanwhile(Progress):
    """Has something done after an attempt's first track."""

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__(1)
        self._actions = [action]

    def track_read(self) -> None:
        while self._actions:
            self._actions.pop()()


@pytest.mark.parametrize("dies", [False, True], ids=["faster", "dies"])
def test_two_attempts_at_a_shard_do_not_disturb_each_other(tmp_path: Path, dies: bool) -> None:
    paths, store = [str(path) for path in _jazz(tmp_path, 3)], tmp_path / "store"
    folder = str(store / "shard")

    def die() -> None:
        raise KeyboardInterrupt

    def another() -> None:
        with nullcontext() if not dies else pytest.raises(KeyboardInterrupt):
            ingest_shard(paths, None, CONFIG, folder, Meanwhile(die) if dies else Progress(1))

    ingest_shard(paths, None, CONFIG, folder, Meanwhile(another))
    assert [outcome.path for outcome in read_outcomes(folder)] == paths
    assert _ids(store / "shard" / EXAMPLES_FILE) == ["0", "1", "2"]
    left = [path for path in store.iterdir() if path.name != "shard"]
    assert len(left) == dies
    ShardStore(str(store))
    assert [path.name for path in store.iterdir()] == ["shard"]


def test_each_example_is_published_in_its_split_and_none_that_was_left_out_since(tmp_path: Path) -> None:
    shard = _shard(tmp_path, _jazz(tmp_path, 9))
    splits = dict(zip("012345678", [*SPLITS, "", "train", "", *SPLITS], strict=True))
    outcomes = [replace(each, split=splits[each.track_id]) for each in read_outcomes(str(shard))]
    split_uri = {split: str(tmp_path / f"out-{split}") for split in SPLITS}
    for uri in split_uri.values():
        Path(uri).mkdir()
    publish_shard(str(shard), outcomes, split_uri, "data")
    published = {split: _ids(Path(uri) / "data") for split, uri in split_uri.items()}
    assert published == {split: [name for name, own in splits.items() if own == split] for split in SPLITS}


@pytest.mark.parametrize("name", ["Unknown", " UNKNOWN ", "\uff35nknown"])
def test_artist_called_unknown_is_nobody(tmp_path: Path, name: str) -> None:
    (path,) = _jazz(tmp_path, 1)
    labels = Labels({"0": Label("Jazz", "0", artist_id="AR1", artist=name)})
    ingest_shard([str(path)], labels, CONFIG, str(tmp_path / "shard"), Progress(1))
    (outcome,) = read_outcomes(str(tmp_path / "shard"))
    (example,) = records(tmp_path / "shard" / EXAMPLES_FILE)
    assert outcome.artist == ""
    assert not any(example.get(feature, [b""])[0] for feature in ("artist", "artist_id"))


@pytest.mark.parametrize(
    ("artist", "album_artist", "key"),
    [
        ("Ann feat. Bob", "ANN", "ann"),
        ("Ann", "", "ann"),
        ("Ann", "Various Artists", "ann"),
        ("Various Artists", "Various Artists", ""),
        ("Various Artists", "", ""),
        ("", "Ann", "ann"),
    ],
)
def test_the_album_tells_artists_apart_unless_it_is_of_various_artists(
    artist: str, album_artist: str, key: str
) -> None:
    track = Track("A", "audio", 1.0, np.zeros((1, 24), np.float32), "a", artist=artist, album_artist=album_artist)
    assert Nobody(["Various Artists"]).taken_out(track).artist_key == key


def test_further_names_of_genres_are_those_of_the_settings(tmp_path: Path) -> None:
    (path,) = _jazz(tmp_path, 1)
    config = dataclasses.replace(CONFIG, genre_names={"Jazz": ["Lindy Hop"]})
    ingest_shard([str(path)], Labels({"0": Label("lindy hop", "0")}), config, str(tmp_path / "shard"), Progress(1))
    (outcome,) = read_outcomes(str(tmp_path / "shard"))
    assert outcome.genre == "Jazz"


def test_genre_outside_the_list_is_told_apart_from_a_fault(tmp_path: Path) -> None:
    (path,) = _jazz(tmp_path, 1)
    ingest_shard([str(path)], Labels({"0": Label("Polka", "0")}), CONFIG, str(tmp_path / "shard"), Progress(1))
    (outcome,) = read_outcomes(str(tmp_path / "shard"))
    assert (outcome.left_out, outcome.genre, outcome.index) == ("other_genre", "Polka", -1)
    assert "'Polka' is not in the genre list" in outcome.reason


def test_genre_other_gathers_what_is_outside_the_list(tmp_path: Path) -> None:
    config = IngestConfig((*GENRES, "Other"), "Other", (), None, "drop")
    paths = list(map(str, _jazz(tmp_path, 3)))
    labels = Labels({"0": Label("Polka", "0"), "1": Label("jazz", "1"), "2": Label("Unknown", "2")})
    ingest_shard(paths, labels, config, str(tmp_path / "shard"), Progress(1))
    assert [outcome.genre for outcome in read_outcomes(str(tmp_path / "shard"))] == ["Other", "Jazz", ""]
