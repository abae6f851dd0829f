"""Tests of reading audio-analysis JSON: what is read, and the reason for everything that is not."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, durations_of, segments_of, write_analysis

pytestmark = pytest.mark.fast

SEGMENTS = 6


def _read(content: bytes) -> list[Track | Rejection]:
    return list(AudioAnalysisJson().read("folder/file", io.BytesIO(content)))


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


# What is read


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_values_are_what_the_file_says(tmp_path: Path, name: str) -> None:
    value = analysis(seed=3)
    track = _track(write_analysis(tmp_path / name, value).read_bytes())
    np.testing.assert_array_equal(track.segments, segments_of(value))
    assert track.segments.dtype == np.float32
    assert track.duration == value["track"]["duration"]
    assert durations_of(track) == [segment["duration"] for segment in value["segments"]]
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
    [
        ({"track_id": "A"}, "A"),
        ({"id": "C"}, "C"),
        ({"id": 7}, "7"),
        ({"track": {"id": "B"}}, "B"),
        ({"track_id": "A", "id": "C", "track": {"id": "B"}}, "A"),
        ({}, ""),
    ],
)
def test_track_id_is_what_the_file_says(place: dict[str, Any], expected: str) -> None:
    assert _track(_bytes(lambda value: value.update(place))).track_id == expected


@pytest.mark.parametrize("remove", [lambda value: value.pop("track"), lambda value: value["track"].pop("duration")])
def test_duration_falls_back_to_the_sum_of_the_segments(remove: Callable[[dict[str, Any]], object]) -> None:
    total = sum(segment["duration"] for segment in analysis(segments=SEGMENTS)["segments"])
    assert _track(_bytes(remove)).duration == pytest.approx(total)


@pytest.mark.parametrize("key", ["genre", "Genre"])
def test_what_a_dump_added_is_read(key: str) -> None:
    added = {key: "Jazz", "artist_id": "1", "artist": "Ann", "title": "Song", "analyser": "mine-2"}
    track = _track(_bytes(lambda value: value.update(added)))
    assert (track.genre, track.artist_id, track.artist, track.title) == ("Jazz", "1", "Ann", "Song")
    assert (track.analyser, _track(_bytes()).analyser) == ("mine-2", "echo_nest")


def test_whole_numbers_and_unknown_fields_are_read() -> None:
    segment = {"duration": 1, "timbre": [0] * 12, "pitches": [1] * 12, "confidence": None, "new": {"field": []}}
    track = _track(json.dumps({"segments": [segment] * 3, "bars": [1]}).encode())
    assert track.segments.tolist() == [[0.0] * 12 + [1.0] * 12] * 3


def test_pitches_of_zero_and_one_are_inside_the_range() -> None:
    content = _bytes(lambda value: value["segments"][0].update(pitches=[0.0, 1.0] * 6))
    assert _track(content).segments[0, 12:].tolist() == [0.0, 1.0] * 6


# What is rejected


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
        (b"3", "got `int`"),
        (b'"segments"', "got `str`"),
        (b"null", "got `null`"),
        (b'{"bars": []}', "missing required field `segments`"),
        (b'{"segments": {}}', r"\$\.segments`"),
        (b'{"segments": ["a", "b"]}', r"\$\.segments\[0\]"),
        (b'{"segments": [{"timbre": []}]}', r"\$\.segments\[0\]"),
        (_bytes(lambda value: value["segments"][2].update(timbre=["1"] * 12)), r"\$\.segments\[2\]\.timbre\[0\]"),
        (_bytes(lambda value: value["segments"][2].update(duration="long")), r"\$\.segments\[2\]\.duration"),
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
    assert durations_of(shortened) == durations_of(whole)[:4]
    assert _reason(_bytes(lambda value: silence(value, 0))) == "all its segments are zero"


def test_analysis_without_segments_is_rejected() -> None:
    assert _reason(b'{"segments": []}').startswith("it has no segments: 3 are the least")


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


@pytest.mark.parametrize(("value", "shown"), [(1e30, "1e+30"), (-1000.5, "-1000.5")])
def test_timbre_that_no_model_can_compute_with_is_rejected_with_its_place(value: float, shown: str) -> None:
    reason = _reason(_bytes(_set(2, "timbre", 3, value)))
    assert reason == f"segments[2].timbre[3] = {shown} is outside [-1000, 1000]"


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
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 3 << 20)
    assert "larger than 3 MiB" in _reason(pack(b" " * ((3 << 20) + 1)))


def test_deeply_nested_json_is_rejected() -> None:
    assert "JSON" in _reason(b'{"bars": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


# Properties

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
def test_arbitrary_bytes_are_rejected(content: bytes) -> None:
    items = _read(content)
    assert items
    assert all(isinstance(item, Rejection) for item in items)


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
def test_arbitrary_json_gives_one_answer_an_analysis(value: Any) -> None:
    items = _read(json.dumps(value).encode())
    assert len(items) == (max(1, len(value)) if isinstance(value, list) else 1)
    for item in items:
        _check_one_answer([item])


# What a crawl stores beside the analysis


def test_title_and_artist_are_read_from_where_a_crawl_keeps_them() -> None:
    artists = [{"id": "a1", "name": "Miles"}, {"id": "a2", "name": "Trane"}]
    crawl = {"id": "4uLU", "title": "So What", "artists": artists, "album": {"name": "Blue"}, "playlists": []}
    track = _track(json.dumps({**analysis(), "track_id": "4uLU", "crawl": crawl}).encode())
    assert (track.artist_id, track.artist, track.title) == ("a1", "Miles", "So What")
    track = _track(json.dumps({**analysis(), "artist": "Davis", "title": "Other", "crawl": crawl}).encode())
    assert (track.artist_id, track.artist, track.title) == ("a1", "Davis", "Other")


@pytest.mark.parametrize("crawl", [None, 1, "text", [], {}, {"artists": None}, {"title": 1.5}, {"artists": [None]}])
def test_another_programs_crawl_keeps_no_track_from_being_read(crawl: Any) -> None:
    track = _track(json.dumps({**analysis(), "crawl": crawl}).encode())
    assert (track.artist_id, track.artist, track.title) == ("", "", "")
