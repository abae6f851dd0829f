"""Tests of reading audio analyses: what is read, and the reason for everything that is not."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.audio_analysis import AudioAnalysisJson
from sources.million_song import MillionSongH5
from sources.registry import source_for
from sources.source import Source
from sources.track import Rejection, Track
from tests.tracks import analysis, write_analysis, write_h5

JSON, H5 = AudioAnalysisJson(), MillionSongH5()
SEGMENTS = 6


def _read(content: bytes, source: Source = JSON) -> list[Track | Rejection]:
    return list(source.read("folder/file", io.BytesIO(content)))


def _track(content: bytes) -> Track:
    (item,) = _read(content)
    assert isinstance(item, Track), item
    return item


def _reason(content: bytes) -> str:
    (item,) = _read(content)
    assert isinstance(item, Rejection)
    assert item.path == "folder/file"
    return item.reason


def _bytes(change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    value = analysis(segments=SEGMENTS)
    change(value)
    return json.dumps(value).encode()


def _set(segment: int, vector: str, index: int, value: float) -> Callable[[dict[str, Any]], None]:
    def change(analysis: dict[str, Any]) -> None:
        analysis["segments"][segment][vector][index] = value

    return change


def _matrix(value: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([segment["timbre"] + segment["pitches"] for segment in value["segments"]], np.float32)


def _durations(track: Track) -> list[float]:
    assert track.durations is not None
    assert len(track.durations) == len(track.segments)
    return [float(duration) for duration in track.durations]


# Audio-analysis JSON: what is read


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_values_are_what_the_file_says(tmp_path: Path, name: str) -> None:
    value = analysis(seed=3)
    track = _track(write_analysis(tmp_path / name, value).read_bytes())
    np.testing.assert_array_equal(track.segments, _matrix(value))
    assert track.segments.dtype == np.float32
    assert track.duration == value["track"]["duration"]
    assert _durations(track) == [segment["duration"] for segment in value["segments"]]
    assert track.source == "audio_analysis"


def test_gzip_is_told_by_its_content_not_by_the_name(tmp_path: Path) -> None:
    packed = write_analysis(tmp_path / "a.json.gz", analysis()).rename(tmp_path / "packed.json")
    plain = write_analysis(tmp_path / "a.json", analysis()).rename(tmp_path / "plain.json.gz")
    assert _track(packed.read_bytes()).content_digest() == _track(plain.read_bytes()).content_digest()


def test_gzip_of_several_members_is_read_whole() -> None:
    content = _bytes()
    parts = gzip.compress(content[:100]) + gzip.compress(content[100:])
    assert _track(parts).content_digest() == _track(content).content_digest()


@pytest.mark.parametrize(
    ("place", "expected"),
    [({"track_id": "A"}, "A"), ({"track": {"id": "B"}}, "B"), ({"track_id": "A", "track": {"id": "B"}}, "A"), ({}, "")],
)
def test_track_id_is_what_the_file_says(place: dict[str, Any], expected: str) -> None:
    assert _track(_bytes(lambda value: value.update(place))).track_id == expected


@pytest.mark.parametrize("remove", [lambda value: value.pop("track"), lambda value: value["track"].pop("duration")])
def test_duration_falls_back_to_the_sum_of_the_segments(remove: Callable[[dict[str, Any]], object]) -> None:
    total = sum(segment["duration"] for segment in analysis(segments=SEGMENTS)["segments"])
    assert _track(_bytes(remove)).duration == pytest.approx(total)


def test_whole_numbers_and_unknown_fields_are_read() -> None:
    segment = {"duration": 1, "timbre": [0] * 12, "pitches": [1] * 12, "confidence": None, "new": {"field": []}}
    track = _track(json.dumps({"segments": [segment], "bars": [1]}).encode())
    assert track.segments.tolist() == [[0.0] * 12 + [1.0] * 12]


def test_pitches_of_zero_and_one_are_inside_the_range() -> None:
    content = _bytes(lambda value: value["segments"][0].update(pitches=[0.0, 1.0] * 6))
    assert _track(content).segments[0, 12:].tolist() == [0.0, 1.0] * 6


def test_digest_depends_on_the_values_alone(tmp_path: Path) -> None:
    as_json = _track(write_analysis(tmp_path / "a.json", analysis(0)).read_bytes())
    (as_h5,) = _read(write_h5(tmp_path / "a.h5", ["A"]).read_bytes(), H5)
    assert isinstance(as_h5, Track)
    assert as_json.content_digest() == as_h5.content_digest()
    assert as_json.content_digest() != _track(json.dumps(analysis(1)).encode()).content_digest()


# Audio-analysis JSON: what is rejected


@pytest.mark.parametrize("left", [2, 5, 12, 300, -9, -1])
def test_truncated_gzip_is_rejected(left: int) -> None:
    assert "truncated" in _reason(gzip.compress(_bytes())[:left])


def test_gzip_with_a_wrong_checksum_is_rejected() -> None:
    content = bytearray(gzip.compress(_bytes()))
    content[-6] ^= 0xFF
    assert "damaged gzip" in _reason(bytes(content))


def test_gzip_whose_data_is_damaged_is_rejected() -> None:
    # A stored block's length has to be followed by its complement.
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    content = bytearray(packer.compress(_bytes()) + packer.flush())
    content[13] ^= 0xFF
    assert "damaged gzip" in _reason(bytes(content))


@pytest.mark.parametrize("left", [1, 30, 300, -2])
def test_truncated_json_is_rejected(left: int) -> None:
    assert "truncated" in _reason(_bytes()[:left])


def test_empty_file_is_rejected() -> None:
    assert re.search("truncated|empty", _reason(b""))


def test_binary_garbage_is_rejected() -> None:
    assert "not valid JSON" in _reason(bytes(range(128, 256)))


def test_invalid_utf8_is_rejected() -> None:
    content = _bytes(lambda value: value.update(track_id="here")).replace(b"here", b"\xff\xfe")
    assert "utf-8" in _reason(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1, 2]", "got `array`"),
        (b"3", "got `int`"),
        (b'"segments"', "got `str`"),
        (b"null", "got `null`"),
        (b'{"bars": []}', "missing required field `segments`"),
        (b'{"segments": {}}', r"\$\.segments`"),
        (b'{"segments": ["a", "b"]}', r"\$\.segments\[0\]"),
        (b'{"segments": [{"timbre": []}]}', r"\$\.segments\[0\]"),
        (_bytes(lambda value: value["segments"][2].update(timbre=["1"] * 12)), r"\$\.segments\[2\]\.timbre\[0\]"),
        (_bytes(lambda value: value["segments"][2].update(duration=None)), r"\$\.segments\[2\]\.duration"),
        (_bytes(lambda value: value.update(track=3)), r"\$\.track"),
    ],
)
def test_json_of_another_kind_is_rejected_with_its_place(content: bytes, reason: str) -> None:
    assert re.match(f"not an audio analysis: .*{reason}", _reason(content))


@pytest.mark.parametrize("nothing", [{"track": None}, {"track": {"id": None, "duration": None}}, {"track_id": None}])
def test_only_segments_are_needed(nothing: dict[str, Any]) -> None:
    track = _track(_bytes(lambda value: value.update(nothing)))
    assert track.track_id == ""
    assert track.duration > 0


def test_byte_order_mark_is_passed_over() -> None:
    np.testing.assert_array_equal(_track(b"\xef\xbb\xbf" + _bytes()).segments, _track(_bytes()).segments)


def test_zero_segments_at_the_end_are_padding_and_left_out() -> None:
    def silence(value: dict[str, Any], first: int) -> None:
        for segment in value["segments"][first:]:
            segment.update(timbre=[0] * 12, pitches=[0] * 12)

    whole, shortened = _track(_bytes()), _track(_bytes(lambda value: silence(value, 4)))
    np.testing.assert_array_equal(shortened.segments, whole.segments[:4])
    assert _durations(shortened) == _durations(whole)[:4]
    assert _reason(_bytes(lambda value: silence(value, 0))) == "all its segments are zero"


def test_analysis_without_segments_is_rejected() -> None:
    assert _reason(b'{"segments": []}') == "it has no segments"


@pytest.mark.parametrize("vector", ["timbre", "pitches"])
@pytest.mark.parametrize("length", [11, 13])
def test_vector_of_another_length_is_rejected_with_its_place(vector: str, length: int) -> None:
    reason = _reason(_bytes(lambda value: value["segments"][2].update({vector: [0.5] * length})))
    assert "length 12" in reason
    assert f"segments[2].{vector}" in reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_rejected(value: float) -> None:
    assert "NaN or Infinity" in _reason(_bytes(_set(2, "timbre", 3, value)))


@pytest.mark.parametrize("word", ["NaN", "Infinity"])
def test_name_that_says_nan_is_not_taken_for_a_value(word: str) -> None:
    reason = _reason(_bytes(lambda value: value.update(track_id=f"To {word} and Back"))[:-2])
    assert "truncated" in reason


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e39"])
def test_number_that_is_too_large_is_rejected_with_its_place(number: str) -> None:
    reason = _reason(_bytes(_set(2, "timbre", 3, 12345.5)).replace(b"12345.5", number.encode()))
    assert "segments[2].timbre[3]" in reason


@pytest.mark.parametrize("pitch", [1.7, -0.1])
def test_pitch_outside_its_range_is_rejected_with_its_place(pitch: float) -> None:
    assert _reason(_bytes(_set(4, "pitches", 7, pitch))) == f"segments[4].pitches[7] = {pitch} is outside [0, 1]"


def test_negative_segment_duration_is_rejected_with_its_place() -> None:
    reason = _reason(_bytes(lambda value: value["segments"][2].update(duration=-0.25)))
    assert reason == "segments[2].duration = -0.25 is negative"


@pytest.mark.parametrize("duration", [-3.0, 1e39])
def test_impossible_track_duration_is_rejected(duration: float) -> None:
    reason = _reason(_bytes(lambda value: value["track"].update(duration=duration)))
    assert "duration" in reason
    assert f"{duration:g}" in reason


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_file_larger_than_the_bound_is_rejected(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.source.MAX_ANALYSIS_BYTES", 3 << 20)
    assert "larger than 3 MiB" in _reason(pack(b" " * ((3 << 20) + 1)))


def test_deeply_nested_json_is_rejected() -> None:
    assert "JSON" in _reason(b'{"bars": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


# Audio-analysis JSON: properties

EXPLORED = settings(deadline=None, derandomize=True, max_examples=200)

VECTORS = st.lists(st.floats(-2, 2), min_size=12, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | VECTORS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["segments", "track", "duration", "timbre", "pitches", "id"]), inner)
    ),
    max_leaves=12,
)
NEARLY_SEGMENTS = st.fixed_dictionaries(
    {"duration": st.floats() | VALUES, "timbre": VECTORS | VALUES, "pitches": VECTORS | VALUES}
)
NEARLY_ANALYSES = st.fixed_dictionaries(
    {"segments": st.lists(NEARLY_SEGMENTS, max_size=4) | VALUES},
    optional={"track": st.fixed_dictionaries({}, optional={"duration": VALUES, "id": VALUES}) | VALUES},
)


def _check_one_answer(items: list[Track | Rejection]) -> None:
    (item,) = items
    if isinstance(item, Rejection):
        assert item.reason
        return
    assert item.segments.shape[0] > 0
    assert item.segments.shape[1] == 24
    assert np.isfinite(item.segments).all()
    assert np.isfinite(np.float32(item.duration))
    assert item.duration >= 0
    assert item.segments[:, 12:].min() >= 0
    assert item.segments[:, 12:].max() <= 1


@EXPLORED
@given(st.binary())
def test_arbitrary_bytes_give_one_rejection(content: bytes) -> None:
    (item,) = _read(content)
    assert isinstance(item, Rejection)


@EXPLORED
@given(st.binary())
def test_arbitrary_bytes_after_a_gzip_header_give_one_rejection(content: bytes) -> None:
    (item,) = _read(b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + content)
    assert isinstance(item, Rejection)


@EXPLORED
@given(st.data())
def test_damaged_gzip_gives_one_answer(data: st.DataObject) -> None:
    content = bytearray(gzip.compress(_bytes(), mtime=0))
    for place in data.draw(st.lists(st.integers(10, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    _check_one_answer(_read(bytes(content)))


@EXPLORED
@given(VALUES | NEARLY_ANALYSES)
def test_arbitrary_json_gives_one_answer(value: Any) -> None:
    _check_one_answer(_read(json.dumps(value).encode()))


@EXPLORED
@given(st.binary())
def test_arbitrary_bytes_as_hdf5_give_one_rejection(content: bytes) -> None:
    (item,) = _read(content, H5)
    assert isinstance(item, Rejection)


# Million Song HDF5


def _h5(tmp_path: Path, change: Callable[[h5py.File], object] = lambda _: None) -> list[Track | Rejection]:
    """What is read of a changed file of the tracks A and B."""
    path = write_h5(tmp_path / "file.h5", ["A", "B"], SEGMENTS)
    with h5py.File(path, "r+") as file:
        change(file)
    return _read(path.read_bytes(), H5)


def _replace(name: str, compute: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        value = compute(file[name][:])
        del file[name]
        file[name] = value

    return change


def _song(row: int, **values: float) -> Callable[[h5py.File], None]:
    def compute(songs: Any) -> Any:
        for column, value in values.items():
            songs[column][row] = value
        return songs

    return _replace("analysis/songs", compute)


def _outcomes(items: list[Track | Rejection]) -> list[tuple[str, str]]:
    """The track id of each, with the reason if it was rejected."""
    return [(item.track_id, item.reason if isinstance(item, Rejection) else "") for item in items]


def test_h5_of_one_track_is_read(tmp_path: Path) -> None:
    (track,) = _read(write_h5(tmp_path / "a.h5", ["TRAAA"]).read_bytes(), H5)
    assert isinstance(track, Track)
    np.testing.assert_array_equal(track.segments, _matrix(analysis(0)))
    assert track.duration == analysis(0)["track"]["duration"]
    assert _durations(track) == pytest.approx([segment["duration"] for segment in analysis(0)["segments"]], abs=2e-5)
    texts = (track.track_id, track.source, track.artist_id, track.artist, track.title, track.genre)
    assert texts == ("TRAAA", "million_song", "AR00000", "Artist 0", "Title 0", "")


def test_h5_aggregate_is_read_track_by_track(tmp_path: Path) -> None:
    tracks = _read(write_h5(tmp_path / "a.h5", ["A", "B", "C"]).read_bytes(), H5)
    assert [track.track_id for track in tracks] == ["A", "B", "C"]
    for number, track in enumerate(tracks):
        assert isinstance(track, Track)
        np.testing.assert_array_equal(track.segments, _matrix(analysis(number)))
        assert track.title == f"Title {number}"


@pytest.mark.parametrize("content", [b"", b"{}", b"no HDF5 at all" * 100])
def test_file_that_is_no_h5_is_rejected(content: bytes) -> None:
    assert [outcome[1][:23] for outcome in _outcomes(_read(content, H5))] == ["not a Million Song file"]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_h5_is_rejected(tmp_path: Path, share: float) -> None:
    content = write_h5(tmp_path / "a.h5", ["A", "B"]).read_bytes()
    (item,) = _read(content[: int(share * len(content))], H5)
    assert isinstance(item, Rejection)
    assert "not a Million Song file" in item.reason


@pytest.mark.parametrize(
    "missing",
    ["analysis/songs", "metadata/songs", "analysis/segments_start", "analysis/segments_timbre", "metadata"],
)
def test_h5_without_a_dataset_is_rejected_naming_it(tmp_path: Path, missing: str) -> None:
    (item,) = _h5(tmp_path, lambda file: file.pop(missing))
    assert isinstance(item, Rejection)
    assert Path(missing).name in item.reason


def test_h5_without_a_column_is_rejected_naming_it(tmp_path: Path) -> None:
    (item,) = _h5(tmp_path, _replace("metadata/songs", lambda songs: songs[["artist_id", "title"]].copy()))
    assert isinstance(item, Rejection)
    assert "artist_name" in item.reason


def _group(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return change


def _float_indices(songs: Any) -> Any:
    kinds = [(name, "f8" if name.startswith("idx") else songs.dtype[name]) for name in songs.dtype.names]
    return songs.astype(kinds)


@pytest.mark.parametrize(
    "change",
    [
        _group("analysis/songs"),
        _group("analysis/segments_timbre"),
        _replace("analysis/songs", lambda _: 1.0),
        _replace("analysis/songs", lambda _: [1.0, 2.0]),
        _replace("analysis/songs", _float_indices),
        _replace("analysis/segments_start", lambda _: 1.0),
        _replace("analysis/segments_start", lambda start: np.stack([start, start], 1)),
        _replace("analysis/segments_timbre", lambda timbre: np.full(timbre.shape, b"text")),
    ],
    ids=["group", "group2", "scalar", "plain", "float index", "scalar start", "2d start", "text"],
)
def test_h5_of_another_layout_is_rejected(tmp_path: Path, change: Callable[[h5py.File], None]) -> None:
    items = _h5(tmp_path, change)
    assert items
    assert all(isinstance(item, Rejection) for item in items)


@pytest.mark.parametrize("name", ["timbre", "pitches"])
def test_h5_vectors_of_another_length_are_rejected(tmp_path: Path, name: str) -> None:
    items = _outcomes(_h5(tmp_path, _replace(f"analysis/segments_{name}", lambda vectors: vectors[:, :11])))
    assert [track_id for track_id, _ in items] == ["A", "B"]
    assert all(re.search(rf"segments_{name}\b.*\b11\b.*\b12\b", reason) for _, reason in items)


def test_h5_decreasing_starts_reject_that_track_alone(tmp_path: Path) -> None:
    def swap(start: Any) -> Any:
        start[[1, 2]] = start[[2, 1]]
        return start

    a, b = _outcomes(_h5(tmp_path, _replace("analysis/segments_start", swap)))
    assert re.fullmatch(r"segments\[1\]\.duration = -\S+ is negative", a[1])
    assert b == ("B", "")


@pytest.mark.parametrize(("name", "value"), [("pitches", 1.7), ("pitches", -0.1), ("timbre", np.nan)])
def test_h5_bad_value_rejects_that_track_alone_with_its_place(tmp_path: Path, name: str, value: float) -> None:
    def spoil(vectors: Any) -> Any:
        vectors[SEGMENTS + 2, 5] = value
        return vectors

    a, b = _outcomes(_h5(tmp_path, _replace(f"analysis/segments_{name}", spoil)))
    assert a == ("A", "")
    assert f"segments[2].{name}[5] = {value}" in b[1]


def test_h5_last_segment_that_starts_at_the_end_is_no_fault(tmp_path: Path) -> None:
    # The data set rounds the two apart from each other.
    last = analysis(0, SEGMENTS)["segments"][-1]["start"]
    assert _outcomes(_h5(tmp_path, _song(0, duration=last - 0.001))) == [("A", ""), ("B", "")]


@pytest.mark.parametrize("duration", [-5.0, np.nan, np.inf])
def test_h5_impossible_duration_rejects_that_track_alone(tmp_path: Path, duration: float) -> None:
    a, b = _outcomes(_h5(tmp_path, _song(0, duration=duration)))
    assert "duration" in a[1]
    assert b == ("B", "")


@pytest.mark.parametrize("index", [1000, -3])
@pytest.mark.parametrize("names", [["timbre"], ["start", "timbre", "pitches"]])
def test_h5_index_outside_its_array_is_rejected(tmp_path: Path, index: int, names: list[str]) -> None:
    items = _outcomes(_h5(tmp_path, _song(1, **{f"idx_segments_{name}": index for name in names})))
    assert items[-1][0] == "B"
    assert "idx_segments_" in items[-1][1]


def test_h5_index_that_goes_back_is_rejected(tmp_path: Path) -> None:
    # A's segments end where B's begin, before they began themselves.
    change = _song(0, idx_segments_start=8, idx_segments_timbre=8, idx_segments_pitches=8)
    a, b = _outcomes(_h5(tmp_path, change))
    assert "idx_segments_" in a[1]
    assert b == ("B", "")


def test_h5_with_fewer_metadata_than_songs_is_rejected_naming_them(tmp_path: Path) -> None:
    items = _outcomes(_h5(tmp_path, _replace("metadata/songs", lambda rows: rows[:1])))
    assert "metadata" in items[-1][1]


def test_h5_without_tracks_is_rejected(tmp_path: Path) -> None:
    def empty(file: h5py.File) -> None:
        _replace("analysis/songs", lambda rows: rows[:0])(file)
        _replace("metadata/songs", lambda rows: rows[:0])(file)

    (item,) = _h5(tmp_path, empty)
    assert isinstance(item, Rejection)


def test_h5_track_without_segments_is_rejected(tmp_path: Path) -> None:
    def empty(file: h5py.File) -> None:
        for name in ("start", "timbre", "pitches"):
            _replace(f"analysis/segments_{name}", lambda values: values[:SEGMENTS])(file)

    assert _outcomes(_h5(tmp_path, empty)) == [("A", ""), ("B", "it has no segments")]


# Which source reads what


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.json", "audio_analysis"),
        ("b/a.JSON.GZ", "audio_analysis"),
        ("a.h5", "million_song"),
        ("A.HDF5", "million_song"),
        ("a.csv", None),
        ("json", None),
        ("a.gz", None),
    ],
)
def test_source_is_found_by_the_ending(path: str, source: str | None) -> None:
    found = source_for(path)
    assert (found.name if found else None) == source


def test_small_h5_that_declares_much_is_rejected_unread(tmp_path: Path) -> None:
    def declare(file: h5py.File) -> None:
        del file["analysis/segments_timbre"]
        file["analysis"].create_dataset("segments_timbre", (1 << 27, 12), "f8", chunks=(1024, 12))

    items = _h5(tmp_path, declare)
    assert (tmp_path / "file.h5").stat().st_size < 1 << 20
    assert items
    assert all(isinstance(item, Rejection) and "larger than 256 MiB" in item.reason for item in items)
