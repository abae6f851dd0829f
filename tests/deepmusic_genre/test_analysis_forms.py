"""Tests of the forms in which catalogues hold audio analyses that are not as Spotify served them."""

import bz2
import io
import json
import lzma
import re
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, durations_of, segments_of

pytestmark = pytest.mark.fast


def _items(value: Any, name: str = "folder/file.json") -> list[Track | Rejection]:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return list(read(name, io.BytesIO(content)))


def _tracks(value: Any, name: str = "folder/file.json") -> list[Track]:
    items = _items(value, name)
    assert all(isinstance(item, Track) for item in items), items
    return [item for item in items if isinstance(item, Track)]


def _track(value: Any, name: str = "folder/file.json") -> Track:
    (track,) = _tracks(value, name)
    return track


def _reason(value: Any) -> str:
    (item,) = _items(value)
    assert isinstance(item, Rejection), item
    return item.reason


def _timed(segments: int = 6, seed: int = 0) -> dict[str, Any]:
    """An analysis whose segments start at 0, 0.25, 0.5, ... seconds; the track ends 0.1 s after the last start."""
    value = analysis(segments=segments, seed=seed)
    for index, segment in enumerate(value["segments"]):
        segment.update(start=index / 4, duration=0.25)
    value["track"] = {"duration": (segments - 1) / 4 + 0.1}
    return value


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    segments = [{name: of for name, of in segment.items() if name not in names} for segment in value["segments"]]
    return {**value, "segments": segments}


# Segments


def test_segments_are_put_in_order_of_their_starts() -> None:
    value = _timed()
    value["segments"][2]["duration"] = 0.125
    shuffled = {**value, "segments": [value["segments"][index] for index in (3, 0, 5, 1, 4, 2)]}
    track = _track(shuffled)
    np.testing.assert_array_equal(track.segments, segments_of(value))
    assert durations_of(track) == [0.25, 0.25, 0.125, 0.25, 0.25, 0.25]


def test_padding_is_left_at_the_end_whatever_its_start() -> None:
    value = _timed()
    padding = {"start": 0.0, "duration": 0.0, "timbre": [0.0] * 12, "pitches": [0.0] * 12}
    track = _track({**value, "segments": [*value["segments"], padding, padding]})
    np.testing.assert_array_equal(track.segments, segments_of(value))


def test_durations_are_the_differences_of_the_starts_up_to_the_tracks_end() -> None:
    track = _track(_without(_timed(), "duration"))
    assert durations_of(track) == pytest.approx([0.25] * 5 + [0.1])
    assert track.duration == pytest.approx(1.35)


def test_last_duration_is_the_median_where_the_tracks_end_is_not_known() -> None:
    value = _without(_timed(), "duration")
    del value["track"]
    value["segments"][1]["start"] = 0.1
    track = _track(value)
    assert durations_of(track) == pytest.approx([0.1, 0.4, 0.25, 0.25, 0.25, 0.25])
    assert track.duration == pytest.approx(1.5)


def test_vectors_alone_are_a_track_of_unknown_durations() -> None:
    value = {"track_id": "A", "segments": _without(_timed(), "start", "duration")["segments"]}
    track = _track(value)
    np.testing.assert_array_equal(track.segments, segments_of(value))
    assert (track.track_id, track.durations, track.duration) == ("A", None, 0.0)


def test_duration_of_the_track_is_kept_where_those_of_its_segments_are_unknown() -> None:
    track = _track(_without(_timed(), "start", "duration"))
    assert track.durations is None
    assert track.duration == pytest.approx(1.35)


def test_analysis_that_says_that_it_failed_is_rejected_with_its_reason() -> None:
    assert _track({**_timed(), "meta": {"status_code": 0, "detailed_status": "OK"}}).num_segments == 6
    reason = _reason({**_timed(), "meta": {"status_code": 3, "detailed_status": "failed"}})
    assert reason == "the analysis says of itself that it failed: meta.status_code is 3 (failed)"


@pytest.mark.parametrize("status", ["error", "Analysis failed", "pending", 3, "3", [1]])
def test_status_of_the_track_counts_as_well(status: Any) -> None:
    for good in ("complete", "ok", 0, "0", None, True):
        assert _track({**_timed(), "track": {"status": good}}).num_segments == 6
    value = {**_timed(), "track": {"status": status}}
    for form in (value, {"id": "A", "analysis": value}, {"track": {"status": status}, "analysis": _timed()}):
        assert "the analysis says of itself that it failed: the track's status is" in _reason(form)
    for form in ({**_timed(), "status": "error"}, {"track": {"id": "A", "status": "pending", "analysis": _timed()}}):
        assert "the track's status is" in _reason(form)
    assert _track({"status": 200, "analysis": _timed()}).num_segments == 6


@pytest.mark.parametrize("duration", [0, None])
def test_duration_that_says_nothing_is_the_sum_of_the_segments(duration: float | None) -> None:
    assert _track({**_timed(), "track": {"duration": duration}}).duration == pytest.approx(1.5)


# Forms


def test_analysis_in_a_wrapper_has_the_wrappers_facts() -> None:
    value = _timed()
    track = _track({"id": "A", "name": "Song", "genre": "Jazz", "artists": [{"name": "Ann", "id": "7"}], "data": value})
    np.testing.assert_array_equal(track.segments, segments_of(value))
    facts = (track.track_id, track.title, track.genre, track.artist, track.artist_id)
    assert facts == ("A", "Song", "Jazz", "Ann", "7")
    assert durations_of(track) == [0.25] * 6


def test_wrappers_may_be_four_levels_deep_and_the_nearest_one_counts() -> None:
    inner = {"id": "A", "title": "Song", "artist": "Ann", "analysis": _timed()}
    track = _track({"id": "request", "response": {"status": {"code": 0}, "body": {"track": inner}}})
    assert (track.track_id, track.title, track.artist) == ("A", "Song", "Ann")
    assert "missing required field `segments`" in _reason({"a": {"b": {"c": {"d": {"e": _timed()}}}}})


def test_facts_beside_the_analysis_are_its_own() -> None:
    track = _track({"track": {"id": "A", "name": "Song"}, "audio_analysis": _timed()})
    assert (track.track_id, track.title) == ("A", "Song")


FACTS = {"title": "Song", "artist": "Ann", "genre": "Jazz"}


def _facts(track: Track) -> dict[str, str]:
    return {name: getattr(track, name) for name in FACTS}


@pytest.mark.parametrize("name", ["metadata", "meta", "track_info", "tags", "musicbrainz"])
def test_facts_in_an_object_beside_the_analysis_or_its_segments_are_its_own(name: str) -> None:
    value = _timed()
    for form in (
        {name: FACTS, "audio_analysis": value},
        {name: {"tags": FACTS}, "audio_analysis": value},
        {**value, name: FACTS},
        {**value, name: json.dumps(FACTS)},
        {**_without(value, "start"), "segments": json.dumps(value["segments"]), name: FACTS},
    ):
        assert _facts(_track(form)) == FACTS


@pytest.mark.parametrize(
    "names",
    [
        ("track_id", "track_name", "artist_name", "artist_id", "Genre"),
        ("trackId", "trackName", "artistName", "artistId", "genre_top"),
        ("Track ID", "Title", "Artist", "Artist ID", "GENRE"),
        ("_id", "song_title", "Artists", "artist-id", "track_genre"),
    ],
)
def test_names_of_facts_may_be_written_in_any_usual_way(names: tuple[str, ...]) -> None:
    said = dict(zip(names, ("A", "Song", "Ann", "7", "Jazz"), strict=True))
    for form in ({**said, "analysis": _timed()}, {**_timed(), **said}):
        track = _track(form)
        assert (track.track_id, track.artist_id) == ("A", "7")
        assert _facts(track) == FACTS


def test_facts_of_something_else_are_not_the_tracks() -> None:
    others = {
        "album": {"id": "B", "title": "Album", "artist": "Various"},
        "artist": {"name": "Ann", "genres": ["Jazz"], "id": "7"},
        "playlist": {"id": "P", "name": "List", "genre": "Pop"},
        "job": {"id": "1", "name": "nightly"},
    }
    for form in ({**others, "analysis": _timed()}, {**_timed(), **others}):
        track = _track(form)
        assert (track.track_id, track.artist_id) == ("file", "7")
        assert _facts(track) == {"title": "", "artist": "Ann", "genre": ""}


def test_what_is_said_nearer_to_the_track_counts() -> None:
    track = _track({"title": "A", "tags": {"title": "B", "genre": "Jazz"}, "x": {"genre": "Pop"}, "analysis": _timed()})
    assert (track.title, track.genre) == ("A", "Jazz")


@pytest.mark.parametrize("genres", [["Jazz", "Blues"], '["Jazz", "Blues"]', [{"name": "Jazz"}, {"name": "Blues"}]])
@pytest.mark.parametrize("name", ["genre", "genres"])
def test_list_of_genres_is_several_genres(name: str, genres: Any) -> None:
    for form in ({**_timed(), name: genres}, {"id": "A", name: genres, "analysis": _timed()}):
        track = _track(form)
        assert (track.genre, track.other_genres) == ("Jazz", ("Blues",))
    track = _track({**_timed(), name: ["Jazz"]})
    assert (track.genre, track.other_genres) == ("Jazz", ())


@pytest.mark.parametrize(
    "item", [{"analysis": _timed()}, _timed(), {"made-up-1": _timed()}], ids=["wrapped", "bare", "keyed"]
)
def test_item_of_a_list_of_one_has_not_the_facts_of_the_list(item: dict[str, Any]) -> None:
    about = {"id": "list", "name": "My List", "artist": "me", "genre": "Pop"}
    for form in ({**about, "items": [item]}, {"list1": {**about, "items": [item]}}, {"a": [item], "b": [item]}):
        for track in _tracks(form):
            assert track.track_id not in ("list", "list1", "a", "b")
            assert _facts(track) == {"title": "", "artist": "", "genre": ""}


def test_segments_without_an_object_around_them_are_an_analysis() -> None:
    value = _timed()
    segments = value["segments"]
    for form in (segments, {"id": "A", "analysis": segments}):
        np.testing.assert_array_equal(_track(form).segments, segments_of(value))
    assert _track({"id": "A", "analysis": segments}).track_id == "A"
    assert [track.track_id for track in _tracks({"A1": segments, "B1": segments})] == ["A1", "B1"]
    assert _track(json.dumps(segments).encode() + b"\n", "a.jsonl").num_segments == 6


def test_segments_without_an_object_around_them_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1000)
    assert "larger than" in _reason(_timed()["segments"])


def test_every_analysis_of_a_wrapper_has_its_own_facts_and_none_of_the_wrappers() -> None:
    bad = _timed()
    bad["segments"][1]["pitches"][2] = 7
    items = _items({"id": "list", "items": [{"id": "A", "analysis": _timed()}, {"id": "B", "analysis": bad}, _timed()]})
    assert [item.track_id for item in items] == ["A", "B", items[2].track_id]
    assert items[2].track_id not in ("list", "")
    assert isinstance(items[1], Rejection)
    assert items[1].reason == "segments[1].pitches[2] = 7 is outside [0, 1]"
    assert items[1].path == "folder/file.json[items][1][analysis]"


@pytest.mark.parametrize("ids", [["made-up-5"], ["A", "B"]])
def test_keys_are_ids(ids: list[str]) -> None:
    dump = {name: _timed(seed=seed) for seed, name in enumerate(ids)}
    assert [track.track_id for track in _tracks(dump)] == ids
    assert [track.track_id for track in _tracks([dump])] == ids


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that some small analyses reach."""
    monkeypatch.setattr("deepmusic_genre.tracks.audio_analysis._USUAL_BYTES", 1000)
    monkeypatch.setattr("deepmusic_genre.tracks.audio_analysis._LARGE_BYTES", 6000)
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 20_000)


def _keyed(count: int) -> dict[str, Any]:
    return {f"A{seed}": {**_timed(seed=seed), "genre": "Jazz"} for seed in range(count)}


@pytest.mark.usefixtures("small")
def test_large_dump_that_is_keyed_is_read_one_by_one() -> None:
    dump = _keyed(30)
    assert len(json.dumps(dump)) > 40_000
    dump["A7"] = _timed(200)
    dump["A8"] = {"id": "own", "analysis": _timed()}
    dump["A9"] = {"note": "none"}
    dump["10"] = dump.pop("A10")
    items = _items(dump)
    assert [item.track_id for item in items] == ["own" if key == "A8" else key for key in dump]
    rejected = [item for item in items if isinstance(item, Rejection)]
    assert [item.path for item in rejected] == ["folder/file.json[A7]", "folder/file.json[A9]"]
    assert "larger than" in rejected[0].reason
    assert next(item.path for item in items if isinstance(item, Track)) == "folder/file.json[A0]"
    *good, last = _items(json.dumps(dump).encode()[:-3000])
    assert len(good) > 20
    assert isinstance(last, Rejection)
    assert re.search(r"truncated: .* after \d+ analyses", last.reason)


@pytest.mark.usefixtures("small")
def test_large_keys_that_only_count_are_no_ids() -> None:
    tracks = _tracks({str(index): value for index, value in enumerate(_keyed(30).values())})
    assert [track.track_id for track in tracks] == [track.content_digest() for track in tracks]


@pytest.mark.usefixtures("small")
def test_large_object_of_another_form_is_read_whole_and_bounded() -> None:
    items = [{"id": key, "analysis": value} for key, value in _keyed(6).items()]
    assert [track.track_id for track in _tracks({"items": items})] == [item["id"] for item in items]
    assert "larger than" in _reason({"items": items * 4})


def test_keys_that_only_count_are_no_ids() -> None:
    first, second = _tracks({"0": _timed(), "1": _timed(seed=1)})
    assert {first.track_id, second.track_id}.isdisjoint({"0", "1"})


def test_table_kept_as_columns_is_read_row_by_row() -> None:
    values = [_timed(seed=seed) for seed in range(2)]
    table = {
        "track_id": {"0": "A", "1": "B"},
        "segments": {str(i): value["segments"] for i, value in enumerate(values)},
    }
    lists = {"track_id": ["A", "B"], "segments": [value["segments"] for value in values]}
    for form in (table, lists):
        tracks = _tracks(form)
        assert [track.track_id for track in tracks] == ["A", "B"]
        for track, value in zip(tracks, values, strict=True):
            np.testing.assert_array_equal(track.segments, segments_of(value))


@pytest.mark.parametrize("index", [None, ["A", "B"], [0, 1]])
def test_table_with_the_names_of_its_columns_apart_is_read_row_by_row(index: Any) -> None:
    values = [_timed(seed=seed) for seed in range(2)]
    rows = [[value["segments"], "Jazz"] for value in values]
    tracks = _tracks({"columns": ["segments", "genre"], "data": rows} | ({"index": index} if index else {}))
    assert [track.genre for track in tracks] == ["Jazz", "Jazz"]
    if index == ["A", "B"]:
        assert [track.track_id for track in tracks] == index
    for track, value in zip(tracks, values, strict=True):
        np.testing.assert_array_equal(track.segments, segments_of(value))


def test_scalars_that_r_writes_as_lists_of_one_are_read() -> None:
    value = _timed()
    segments = [
        {name: of if isinstance(of, list) else [of] for name, of in segment.items()} for segment in value["segments"]
    ]
    for form in (segments, value["segments"]):
        track = _track({"track_id": ["A"], "track": {"duration": [1.35]}, "segments": form})
        np.testing.assert_array_equal(track.segments, segments_of(value))
        assert (track.track_id, track.duration, durations_of(track)) == ("A", 1.35, [0.25] * 6)


def test_segments_kept_as_columns_are_read() -> None:
    value = _timed()
    columns = {name: [segment[name] for segment in value["segments"]] for name in ("start", "timbre", "pitches")}
    for form in ({"segments": columns}, {"id": "A", **columns}):
        np.testing.assert_array_equal(_track(form).segments, segments_of(value))
    assert "differ in length" in _reason({"segments": {**columns, "start": [0.0]}})


def test_text_in_text_is_read() -> None:
    value = _timed()
    for form in ({"track_id": "A", "segments": json.dumps(value["segments"])}, json.dumps({"track_id": "A", **value})):
        track = _track(form)
        np.testing.assert_array_equal(track.segments, segments_of(value))
        assert track.track_id == "A"


def test_numbers_and_ids_of_mongodb_are_read() -> None:
    value = _timed()
    segments = [
        {**segment, "timbre": [{"$numberDouble": str(number)} for number in segment["timbre"]]}
        for segment in value["segments"]
    ]
    for form in (segments, value["segments"]):
        track = _track({"_id": {"$oid": "A"}, "segments": form})
        np.testing.assert_array_equal(track.segments, segments_of(value))
        assert track.track_id == "A"
    segments[0]["timbre"][3] = {"$numberDouble": "many"}
    assert _reason({"segments": segments}) == "$numberDouble is 'many', not a number"


def test_failed_analysis_in_a_wrapper_is_rejected() -> None:
    assert "it failed" in _reason({"id": "A", "analysis": {**_timed(), "meta": {"status_code": [3]}}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (str(_timed()).encode(), "Python's repr, not JSON: read it with ast.literal_eval"),
        (b"<!DOCTYPE html><html></html>", "a web page or XML"),
        (b'{"segments": []}\n{"segments": []}\n', "as JSON lines, with the ending .jsonl"),
        (b'callback({"segments": []})', "JSONP, not JSON"),
        (b'{"error": {"status": 404, "message": "analysis not found"}}', "a service's error .*: analysis not found"),
        (b'{"data": [["A", 1], ["B", 2]]}', "missing required field `segments`"),
        (b'[["A", [1, 2]]]', "a row without the names of its columns: .*orient='records'"),
        (b'{"danceability": 0.5, "energy": 0.1}', "Spotify's audio features"),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, reason: str) -> None:
    (item,) = _items(content)
    assert isinstance(item, Rejection)
    assert re.search(reason, item.reason), item.reason


# Compressions and encodings


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


PACKINGS = pytest.mark.parametrize(("ending", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress), ("zst", _zstd)])
Pack = Callable[[bytes], bytes]


@PACKINGS
def test_compressed_analyses_are_read(ending: str, pack: Pack) -> None:
    content = json.dumps(_timed()).encode()
    for name, text in (("json", content), ("jsonl", content + b"\n")):
        track = _track(pack(text), f"folder/file.{name}.{ending}")
        np.testing.assert_array_equal(track.segments, segments_of(_timed()))
        assert track.track_id == ("file" if name == "json" else track.content_digest())


@PACKINGS
def test_compressed_files_of_several_parts_are_read_whole(ending: str, pack: Pack) -> None:
    lines = [json.dumps(_timed(seed=seed)).encode() + b"\n" for seed in range(2)]
    assert len(_tracks(b"".join(pack(line) for line in lines), f"a.jsonl.{ending}")) == 2


@PACKINGS
def test_compressed_archives_are_read(ending: str, pack: Pack) -> None:
    sink, content = io.BytesIO(), json.dumps(_timed()).encode()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("Jazz/a.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    assert _track(pack(sink.getvalue()), f"a.tar.{ending}").path == f"a.tar.{ending}!/Jazz/a.json"


@PACKINGS
def test_damaged_compression_is_rejected_by_its_name(ending: str, pack: Pack) -> None:
    kind = {"bz2": "bzip2", "xz": "xz", "zst": "zstd"}[ending]
    packed = pack(json.dumps(_timed()).encode())
    flipped = packed[:40] + bytes([packed[40] ^ 0xFF]) + packed[41:]
    for content in (packed[:-20], packed[:8], flipped[:-1]):
        (item,) = _items(content, f"a.json.{ending}")
        assert isinstance(item, Rejection)
        assert f"truncated or damaged {kind}" in item.reason


@PACKINGS
def test_compressed_bomb_is_rejected(monkeypatch: pytest.MonkeyPatch, ending: str, pack: Pack) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1 << 20)
    (item,) = _items(pack((b" " * 1000 + b"\n") * 20_000), f"a.jsonl.{ending}")
    assert isinstance(item, Rejection)
    assert "decompression bomb" in item.reason


@pytest.mark.parametrize("mark", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be", "utf-8"])
def test_encodings_are_told_by_the_first_bytes(encoding: str, mark: bool) -> None:
    text = ("\ufeff" if mark else "") + json.dumps({"title": "Ä𝄞", **_timed()}, ensure_ascii=False)
    for name, content in (("a.json", text), ("a.jsonl", f"{text}\n\n"), ("a.json", text[:mark] + f"[{text[mark:]}]")):
        track = _track(content.encode(encoding), name)
        np.testing.assert_array_equal(track.segments, segments_of(_timed()))
        assert track.title == "Ä𝄞"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_that_ends_within_a_letter_is_rejected(encoding: str) -> None:
    (item,) = _items(json.dumps(_timed()).encode(encoding) + b"x")
    assert isinstance(item, Rejection)
    assert f"not valid {encoding.upper()}" in item.reason


# Lines


@pytest.mark.parametrize("brackets", ["", "[]"], ids=["objects", "array"])
def test_json_lines_over_several_lines_each_are_read(brackets: str) -> None:
    values = [_timed(seed=seed) for seed in range(2)]
    text = (",\n" if brackets else "\n").join(json.dumps(value, indent=2) for value in values)
    content = "\n".join([brackets[:1], text, brackets[1:]]).strip().encode()
    tracks = _tracks(content, "a.jsonl")
    assert len(_tracks(b"\xef\xbb\xbf\n" + content, "a.jsonl")) == 2
    assert [track.path for track in tracks] == ["a.jsonl[0]", "a.jsonl[1]"]
    for track, value in zip(tracks, values, strict=True):
        np.testing.assert_array_equal(track.segments, segments_of(value))
    *good, last = _items(content[:-100], "a.jsonl")
    assert len(good) == 1
    assert isinstance(last, Rejection)
    assert "truncated" in last.reason
    assert "after 1 analyses" in last.reason
