"""Tests of genre names and of the labels file."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusic_genre.tracks.label_table import InvalidLabels, LabelField
from deepmusic_genre.tracks.labels import (
    GenreNames,
    Label,
    Labels,
    OtherGenre,
    apply_label,
    contradictions,
    find_label,
    label_of,
    read_labels,
)
from deepmusic_genre.tracks.track import ECHO_NEST, InvalidTrack, Track

pytestmark = pytest.mark.fast

NAMES = GenreNames(["Hip-Hop", "Blues", "R&B", "Rock"])


def _track(**texts: Any) -> Track:
    return Track("A", "audio_analysis", 1.0, np.zeros((1, 24), np.float32), ECHO_NEST, **texts)


def _fault(content: bytes) -> str:
    with pytest.raises(InvalidLabels) as caught:
        read_labels(content, "my labels.csv")
    message = str(caught.value)
    assert message.startswith("my labels.csv")
    return message


# Genre names


@pytest.mark.parametrize("name", ["hiphop", "hip_hop", "Hip-Hop", "HIP HOP", " hip  hop ", "hip.hop"])
def test_spellings_of_a_genre_are_the_same(name: str) -> None:
    assert NAMES.canonical(name) == "Hip-Hop"


@pytest.mark.parametrize("name", ["", "-", "hip", "hiphops", "Polka"])
def test_other_names_are_no_genre(name: str) -> None:
    assert NAMES.canonical(name) is None


def test_letters_of_every_script_count() -> None:
    names = GenreNames(["Música Popular", "音楽"])
    assert names.canonical("música_popular") == "Música Popular"
    assert names.canonical("音楽") == "音楽"
    assert names.canonical("Musica Popular") is None


def test_required_genre_is_returned_in_the_configured_spelling() -> None:
    assert NAMES.require("r & b") == "R&B"


def test_unknown_genre_is_refused_naming_it_and_the_list() -> None:
    with pytest.raises(InvalidTrack, match=r"'Polka' is not in the genre list \(Hip-Hop, Blues, R&B, Rock\)"):
        NAMES.require("Polka")


@pytest.mark.parametrize(
    ("path", "genre"),
    [
        ("/data/rock/a.json", "Rock"),
        ("/data/Rock/album/a.json", "Rock"),
        ("/data/Rock/Blues/a.json", "Blues"),
        ("/data/Blues/live/hip hop/2001/a.json", "Hip-Hop"),
        ("rock/a.json", "Rock"),
        ("/data/Polka/a.json", None),
        ("/data/rock.json", None),
        ("/data/x/Rock", None),
    ],
)
def test_nearest_folder_named_after_a_genre_wins(path: str, genre: str | None) -> None:
    assert NAMES.of_folder(path) == genre


# Labels file: what is read


def test_rows_are_read_by_track_id() -> None:
    content = b"track_id,artist_id,artist,title,genre\nA,1,Ann,Song,Rock\nB,2,Bob,Tune,Blues\n"
    assert read_labels(content, "") == {
        "A": Label("Rock", "A", "1", "Ann", "Song"),
        "B": Label("Blues", "B", "2", "Bob", "Tune"),
    }


@pytest.mark.parametrize(
    "content",
    [
        b"track_id,genre\nA,Rock\n",
        b"\xef\xbb\xbftrack_id,genre\nA,Rock\n",
        b"track_id,genre\r\nA,Rock\r\n",
        b"track_id,genre\nA,Rock",
        b"track_id,genre\n\nA,Rock\n\n",
        b"year,genre,track_id\n1999,Rock,A\n",
        b"track_id,genre\n A , Rock \n",
        b'track_id,genre\n"A","Rock"\n',
        "track_id,genre\nA,Rock\n".encode("utf-16"),
        b"\xfe\xff" + "track_id,genre\nA,Rock\n".encode("utf-16-be"),
        b"track_id,genre\nA,\nA,Rock\nA,\n",
    ],
    ids=["plain", "mark", "crlf", "no end", "blank", "extra column", "spaces", "quotes", "16le", "16be", "empty genre"],
)
def test_forms_of_the_same_labels(content: bytes) -> None:
    assert read_labels(content, "") == {"A": Label("Rock", "A")}


def test_track_of_several_rows_has_their_genres_in_order() -> None:
    content = b"track_id,genre,artist\nA,Rock,Ann\nB,Blues,\nA,Blues,Ann\nA,Rock,Ann\n"
    assert read_labels(content, "") == {
        "A": Label("Rock", "A", artist="Ann", other_genres=("Blues", "Rock")),
        "B": Label("Blues", "B"),
    }


def test_cls_file_has_a_track_a_line_with_one_genre_or_two() -> None:
    content = b"# MSD track id, genre, minority genre\n# more\nA\tRock\nB\tBlues\tRock\r\n\nC\tHip-Hop\t\n"
    assert read_labels(content, "tagtraum.CLS") == {
        "A": Label("Rock", "A"),
        "B": Label("Blues", "B", other_genres=("Rock",)),
        "C": Label("Hip-Hop", "C"),
    }


@pytest.mark.parametrize("line", [b"B Rock", b"B\t", b"B"])
def test_cls_line_without_a_genre_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(InvalidLabels, match=r"a\.cls, line 3: there is no tab and genre"):
        read_labels(b"# ids\nA\tRock\n" + line + b"\n", "a.cls")


def test_text_is_utf8() -> None:
    labels = read_labels("track_id,genre,artist\nA,Rock,Sigur Rós\n".encode(), "")
    assert labels["A"].artist == "Sigur Rós"


def test_quoted_commas_and_line_ends_belong_to_the_value() -> None:
    labels = read_labels(b'track_id,genre,title\nA,Rock,"One,\nTwo"\nB,Rock,Three\n', "")
    assert [label.title for label in labels.values()] == ["One,\nTwo", "Three"]


@pytest.mark.parametrize("row", ["A,", "A, ", "A"])
def test_row_without_a_genre_is_kept_as_unlabelled(row: str) -> None:
    assert read_labels(f"track_id,genre\n{row}\n".encode(), "") == {"A": Label("", "A")}


def test_file_with_a_header_alone_has_no_rows() -> None:
    assert read_labels(b"track_id,genre\n", "") == {}


# Labels file: what is refused


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("id,genre", "no column track_id; it has id, genre"),
        ("track_id,style", "no column genre; it has track_id, style"),
    ],
)
def test_missing_column_is_refused_naming_it_and_those_there_are(header: str, named: str) -> None:
    assert named in _fault(f"{header}\nA,Rock\n".encode())


def test_both_missing_columns_are_named() -> None:
    assert "genre and track_id" in _fault(b"number;style\nA;Rock\n")


def test_empty_file_is_refused() -> None:
    assert "no column genre and track_id" in _fault(b"")


@pytest.mark.parametrize("second", ["A,Blues,2", "A,Rock,2", "A,Rock,"])
def test_rows_of_one_track_and_two_artists_are_refused_with_the_line(second: str) -> None:
    message = _fault(f"track_id,genre,artist\nA,Rock,1\nB,Rock,1\n{second}\n".encode())
    assert message.endswith("line 4: track A is labelled twice, with another artist or title")


def test_empty_track_id_is_refused_with_the_line() -> None:
    assert _fault(b"track_id,genre\nA,Rock\n ,Rock\n").endswith("line 3: the track_id is empty")


@pytest.mark.parametrize("content", [b"track_id,genre\nA,Rock\n\x81,Rock\n", b"\xff\xfet\0r"])
def test_text_that_no_spreadsheet_writes_is_refused(content: bytes) -> None:
    assert "UTF-8" in _fault(content)


def test_byte_of_no_text_is_refused_with_its_line() -> None:
    fault = _fault(b"track_id,genre,artist\nA,Rock,Ann\nB,Rock,Caf\x8d\n")
    assert fault.startswith("my labels.csv, line 3: not a text in UTF-8; save it as such")


def test_zero_byte_is_refused_with_its_line() -> None:
    assert _fault(b"track_id,genre\nA,Ro\0ck\n").startswith(
        "my labels.csv, line 2: not a CSV text in UTF-8: it holds a"
    )


@pytest.mark.parametrize("value", [b"a\0b", b"a" * 200_000])
def test_value_that_is_no_csv_text_is_refused(value: bytes) -> None:
    assert "not a CSV text" in _fault(b"track_id,genre\n" + value + b",Rock\n")


@settings(deadline=None, derandomize=True)
@given(st.binary() | st.binary().map(lambda tail: b"track_id,genre\n" + tail))
def test_arbitrary_bytes_are_read_or_refused(content: bytes) -> None:
    refused = ""
    labels: dict[str, Label] = {}
    try:
        labels = read_labels(content, "labels.csv")
    except InvalidLabels as error:
        refused = str(error)
    assert "labels.csv" in refused or not refused
    assert all(track_id == label.track_id != "" for track_id, label in labels.items())


# Labels onto tracks


def test_labelled_track_has_the_configured_genre() -> None:
    assert apply_label(_track(), Label("hip hop"), NAMES).genre == "Hip-Hop"


def test_label_with_metadata_replaces_the_tracks() -> None:
    track = apply_label(
        _track(artist_id="1", artist="Ann", title="Song"), Label("Rock", "A", "2", "Bob", "Tune"), NAMES
    )
    assert (track.artist_id, track.artist, track.title) == ("2", "Bob", "Tune")


def test_label_without_metadata_keeps_the_tracks() -> None:
    track = apply_label(_track(artist_id="1", artist="Ann", title="Song"), Label("Rock", "A"), NAMES)
    assert (track.artist_id, track.artist, track.title) == ("1", "Ann", "Song")


def test_label_of_an_unknown_genre_is_refused() -> None:
    with pytest.raises(InvalidTrack, match="'Polka'"):
        apply_label(_track(), Label("Polka"), NAMES)


@pytest.mark.parametrize("label", [None, Label("", "A")])
def test_track_without_a_genre_is_unlabelled(label: Label | None) -> None:
    assert apply_label(_track(), label, NAMES).genre == ""


def test_labels_file_wins_over_the_file_and_the_folder() -> None:
    track = _track(path="/Rock/A.json", genre="R&B")
    assert label_of(track, Labels({"A": Label("Blues", "A")}), NAMES) == Label("Blues", "A")
    assert apply_label(track, Label("Blues", "A"), NAMES).genre == "Blues"


@pytest.mark.parametrize("nothing", ["NA", "n/a", "<NA>", "nan", "None", "null", " - "])
def test_words_for_no_genre_are_none_in_the_table_and_in_the_file(nothing: str) -> None:
    gathering = GenreNames([*NAMES.in_cells(["Rock"]), "Other"], "Other")
    for names in (NAMES, gathering):
        assert apply_label(_track(), Label(nothing, "A"), names).genre == ""
        joined = apply_label(_track(), Label(nothing, "A", other_genres=("Rock",)), names)
        assert (joined.genre, joined.other_genres) == ("Rock", ())
        assert apply_label(_track(genre=nothing), None, names).genre == ""
        assert label_of(_track(path="/Rock/A.json", genre=nothing), None, names) == Label("Rock")
    assert apply_label(_track(), Label("NA"), GenreNames(["NA"])).genre == "NA"


def test_the_files_own_genre_wins_over_the_folder() -> None:
    track = _track(path="/Rock/A.json", genre="hip hop")
    assert label_of(track, None, NAMES) is None
    assert apply_label(track, None, NAMES).genre == "Hip-Hop"


def test_own_genre_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(InvalidTrack, match="'Polka'"):
        apply_label(_track(genre="Polka"), None, NAMES)


def test_every_genre_of_a_label_comes_in_the_configured_spelling() -> None:
    track = apply_label(_track(), Label("hip hop", other_genres=("rock", "HIPHOP")), NAMES)
    assert (track.genre, track.other_genres) == ("Hip-Hop", ("Rock", "Hip-Hop"))


def test_empty_genre_of_a_label_takes_the_tracks_away() -> None:
    track = apply_label(_track(genre="Rock", other_genres=("Blues",)), Label("", "A"), NAMES)
    assert (track.genre, track.other_genres) == ("", ())


def test_track_that_the_labels_file_does_not_name_has_no_label() -> None:
    assert label_of(_track(path="/Rock/A.json"), Labels({}), NAMES) is None


def test_folder_is_the_label_without_a_labels_file() -> None:
    assert label_of(_track(path="/hip_hop/A.json"), None, NAMES) == Label("Hip-Hop")


def test_no_folder_of_a_genre_is_no_label() -> None:
    assert label_of(_track(path="/data/A.json"), None, NAMES) is None


def test_an_unclosed_quote_is_refused_and_swallows_no_rows() -> None:
    with pytest.raises(InvalidLabels, match="not a CSV text"):
        read_labels(b'track_id,genre\na,"Rock\nb,Jazz\n', "labels.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"track_id,genre\nA,Rock,more\n", "labels.csv, line 2: there are more values than columns"),
        (b"track_id,genre,genre\nA,Rock,Jazz\n", "labels.csv has a column twice: track_id, genre, genre"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidLabels, match=message):
        read_labels(content, "labels.csv")


def test_composed_and_decomposed_letters_are_one_genre() -> None:
    composed, decomposed = "M\u00fasica", "Mu\u0301sica"
    assert GenreNames([composed]).canonical(decomposed) == composed


# Tables as spreadsheets and data sets write them


@pytest.mark.parametrize(
    "content",
    [
        b"Track ID;Genre;Artist\r\nA;Rock;Ann\r\n",
        b"sep=;\r\nTrack ID;Genre;Artist\r\nA;Rock;Ann\r\n",
        b"track_id\tgenre\tartist\nA\tRock\tAnn\n",
        b" TRACK_ID , Label ,Artist Name\nA,Rock,Ann\n",
        b"trackID,track_genre,artists\nA,Rock,Ann\n",
        b"genre_top,filename,artist_name\nRock,A,Ann\n",
        b"path,genre,label,artist\nA,Rock,Blue Note,Ann\n",
        b"Track URI,genre,artist\nspotify:track:A,Rock,Ann\n",
        b"track_id;genre;artist;;\nA;Rock;Ann;;\n;;;;\n",
        b",track_id,genre,artist\n0,A,Rock,Ann\n",
        b'track_id;genre;artist;"a, b, c, d"\nA;Rock;Ann;x\n',
        "track_id\tgenre\tartist\r\nA\tRock\tAnn\r\n".encode("utf-16"),
        b",track,track,artist,album\n,genre_top,bit_rate,name,title\ntrack_id,,,,\nA,Rock,320,Ann,LP\n",
    ],
    ids=[
        "semicolons",
        "Excel's line",
        "tabs",
        "case and blanks",
        "usual names",
        "file",
        "record label",
        "address",
        "empty columns",
        "pandas' index",
        "commas in a name",
        "Excel's Unicode text",
        "FMA",
    ],
)
def test_tables_are_read_as_they_come(content: bytes) -> None:
    assert read_labels(content, "") == {"A": Label("Rock", "A", artist="Ann")}


@pytest.mark.parametrize("track", ["nr", "song file"])
def test_columns_may_be_named(track: str) -> None:
    content = f"{track};Style;genre;Band;track_id\nA;Rock;Blues;Ann;7\n".encode()
    columns: dict[LabelField, str] = {"track": track.upper(), "genre": "style", "artist": "Band"}
    assert read_labels(content, "", columns) == {"A": Label("Rock", "A", artist="Ann")}


def test_named_column_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InvalidLabels, match=r"no column style, which data.label_columns names for genre; it has .*kind"
    ):
        read_labels(b"track_id,kind\nA,Rock\n", "labels.csv", {"genre": "style"})
    with pytest.raises(InvalidLabels, match="a column twice"):
        read_labels(b"track_id,kind,Kind\nA,Rock,Rock\n", "labels.csv", {"genre": "kind"})


def test_text_of_windows_is_read() -> None:
    labels = read_labels("file;genre;artist\nCaf\u00e9.mp3;Rock;Beyonc\u00e9 \u2013 \u20ac\n".encode("cp1252"), "")
    assert labels == {"Caf\u00e9.mp3": Label("Rock", "Caf\u00e9.mp3", artist="Beyonc\u00e9 \u2013 \u20ac")}


def test_line_numbers_are_those_of_the_file() -> None:
    assert read_labels(b"sep=;\ntrack_id;genre\n\nA;Rock\nB;Rock\nA;Rock\n", "").lines == {"A": [4, 6], "B": [5]}


@pytest.mark.parametrize("cell", ["hip hop;Blues", "Hip-Hop|Blues", "Hip-Hop, blues", "Hip-Hop ; Blues;"])
def test_genres_in_a_cell_are_those_of_as_many_rows(cell: str) -> None:
    track = apply_label(_track(), Label(cell, "A"), NAMES)
    assert (track.genre, track.other_genres) == ("Hip-Hop", ("Blues",))


def test_genre_whose_name_has_a_comma_is_one() -> None:
    names = GenreNames(["Folk, World", "Folk", "Jazz"])
    track = apply_label(_track(), Label("Folk, World; Jazz", "A"), names)
    assert (track.genre, track.other_genres) == ("Folk, World", ("Jazz",))


def test_unknown_genre_in_a_cell_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidTrack, match="genre 'Polka' is not in"):
        apply_label(_track(), Label("Polka; Schlager", "A"), NAMES)


def test_of_several_genres_those_of_the_list_count() -> None:
    labelled = apply_label(_track(), Label("Polka; Rock", "A", other_genres=("Schlager",)), NAMES)
    assert (labelled.genre, labelled.other_genres) == ("Rock", ())


# Which row it is


@pytest.mark.parametrize(
    ("row", "track"),
    [
        ("Rock/a.json", {"path": "/data/Rock/a.json"}),
        ("./Rock/a.json", {"path": "/data/Rock/a.json"}),
        ("Rock\\a.json", {"path": "/data/Rock/a.json"}),
        ("Rock/a.wav", {"path": "/data/Rock/a.mp3"}),
        ("Rock/a", {"path": "/data/Rock/a.json.gz"}),
        ("/home/ann/Rock/a.json", {"path": "/data/Rock/a.json"}),
        ("C:\\Users\\Ann\\Rock\\a.wav", {"path": "/data/Rock/a.json"}),
        ("file:///home/ann/a.json", {"path": "/data/a.json"}),
        ("Caf\u00e9.json", {"path": "/data/Cafe\u0301.json"}),
        ("Cafe\u0301.json", {"path": "/data/Caf\u00e9.json"}),
        ("spotify:track:4uLU6h", {"track_id": "4uLU6h"}),
        ("https://open.spotify.com/track/4uLU6h?si=1", {"track_id": "4uLU6h"}),
        ("https://open.spotify.com/intl-de/track/4uLU6h", {"track_id": "4uLU6h"}),
        ("4uLU6h", {"track_id": "spotify:track:4uLU6h"}),
        ("0007", {"track_id": "0007"}),
        ("0007", {"track_id": "7"}),
        ("2", {"path": "/data/000/000002.mp3"}),
    ],
)
def test_row_and_track_are_written_in_their_own_ways(row: str, track: dict[str, str]) -> None:
    labels = read_labels(f"track_id,genre\n{row},Rock\n".encode(), "")
    found = find_label(labels, track.get("track_id", "some id"), track.get("path", "/data/some file.json"))
    assert found is not None
    assert found.genre == "Rock"


@pytest.mark.parametrize(
    ("rows", "path"),
    [
        ("Rock/a.json,Rock", "/data/Jazz/a.json"),
        ("/home/ann/Rock/a.json,Rock\n/home/ann/Blues/b.json,Blues", "/data/Jazz/a.json"),
        ("Mr. Smith,Rock", "/data/Mr.json"),
        ("k/a.json,Rock", "/data/rock/a.json"),
    ],
)
def test_row_of_another_folder_or_name_is_not_the_tracks(rows: str, path: str) -> None:
    assert find_label(read_labels(f"file,genre\n{rows}\n".encode(), ""), "some id", path) is None


def test_two_ways_to_write_a_file_are_one_track() -> None:
    labels = read_labels(b"file,genre\nRock\\a.json,Rock\n./Rock/a.json,Blues\n", "")
    assert labels == {"Rock/a.json": Label("Rock", "Rock/a.json", other_genres=("Blues",))}


# Genres as people write them


LIST = GenreNames(["Blues", "Hip-Hop", "Jazz", "Metal", "Pop", "Rock"])


@pytest.mark.parametrize(
    ("name", "genre"),
    [
        ("Rap", "Hip-Hop"),
        ("Hip-Hop/Rap", "Hip-Hop"),
        ("Rock & Roll", "Rock"),
        ("rock'n'roll", "Rock"),
        ("Gangsta", "Hip-Hop"),
        ("Melodic Death Metal", "Metal"),
        ("R&B", None),
        ("Electronic", None),
        ("Pop/Rock", None),
        ("17", None),
    ],
)
def test_usual_names_mean_a_genre_of_the_list_or_one_outside_it(name: str, genre: str | None) -> None:
    assert LIST.canonical(name) == genre


def test_a_list_in_other_words_is_understood_and_a_part_of_a_genre_is_not_the_whole() -> None:
    names = GenreNames(["rap", "RnB", "Death Metal"])
    assert [names.canonical(name) for name in ("Hip-Hop", "R&B", "Gangsta Rap", "Melodic Death Metal", "Metal")] == [
        *("rap", "RnB", "rap", "Death Metal", None)
    ]


def test_names_of_the_settings_go_before_the_table_but_not_before_the_list() -> None:
    names = GenreNames(["Hip-Hop", "Pop", "Rock"], names={"Pop": ["rap", "Rock", "Electronic"]})
    assert [names.canonical(name) for name in ("Rap", "Rapp", "Hip-Hop/Rap", "rock", "House")] == [
        *("Pop", None, "Hip-Hop", "Rock", "Pop")
    ]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("jazz;blues", ["jazz", "blues"]),
        ("jazz/ blues", ["jazz", "blues"]),
        ("jazz\0blues", ["jazz", "blues"]),
        ("Hip-Hop/Rap", ["Hip-Hop/Rap"]),
        ("Pop, Rock", ["Pop", "Rock"]),
        ("Rock & Roll|R&B", ["Rock & Roll", "R&B"]),
        ("Singer/Songwriter", ["Singer/Songwriter"]),
        ("Foo/Bar", ["Foo/Bar"]),
        ("Jazz/Bar", ["Jazz", "Bar"]),
        ("Unknown", []),
        ("Jazz; Other", ["Jazz"]),
        ("-;", []),
    ],
)
def test_a_cell_is_split_where_the_table_knows_no_name_with_the_separator(cell: str, names: list[str]) -> None:
    assert LIST.names_in(cell) == names


def test_a_genre_of_10000_letters_or_lines_is_shown_in_part() -> None:
    for name in ("x" * 10_000, "a\n\x1b[31m" * 2000):
        with pytest.raises(OtherGenre) as caught:
            LIST.require(name)
        assert len(caught.value.name) == 60
        assert caught.value.name.isprintable()


def test_a_folder_counts_if_the_file_names_no_genre_of_the_list() -> None:
    assert label_of(_track(path="/Rock/a.mp3", genre="Other"), None, LIST) == Label("Rock")
    assert label_of(_track(path="/rap/a.mp3"), None, LIST) == Label("Hip-Hop")
    assert label_of(_track(path="/17/a.mp3"), None, LIST) is None
    assert label_of(_track(path="/Rock/a.mp3", genre="Polka"), None, LIST) == Label("Rock")
    assert label_of(_track(path="/Rock/a.mp3", genre="Polka; Jazz"), None, LIST) is None


@pytest.mark.parametrize(
    ("row", "own", "folder", "said"),
    [
        ("Rock", "Rock & Roll", "rock", ()),
        ("Rock", "Jazz", "rock", ("labels file and file: Rock; Jazz",)),
        ("Rock", "Jazz", "Pop", ("labels file and file: Rock; Jazz", "labels file and folder: Rock; Pop")),
        (None, "Jazz", "Pop", ("file and folder: Jazz; Pop",)),
        (None, "Jazz; Pop", "Pop", ()),
        (None, "Polka", "Pop", ("folder and file: Pop; Polka",)),
        (None, "Polka", "Polka", ()),
        ("Rock", "Polka", "Rock", ()),
        (None, "", "Pop", ()),
        ("", "Jazz", "Pop", ("file and folder: Jazz; Pop",)),
    ],
)
def test_who_contradicts_whom(row: str | None, own: str, folder: str, said: tuple[str, ...]) -> None:
    track = _track(path=f"/{folder}/a.mp3", genre=own)
    assert contradictions(track, None if row is None else Label(row, "A"), LIST) == said


def test_an_artist_of_a_label_is_not_that_of_the_album() -> None:
    track = _track(artist="Ann", album_artist="Bob")
    assert apply_label(track, Label("Rock", "A", artist="Eve"), NAMES).album_artist == ""
    assert apply_label(track, Label("Rock", "A"), NAMES).album_artist == "Bob"
