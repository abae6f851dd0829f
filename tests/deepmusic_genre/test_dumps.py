"""Tests of files that hold many analyses: JSON lines, and the seed's single array."""

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusic_genre.tracks import json_array
from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.json_array import elements, members
from deepmusic_genre.tracks.json_lines import JsonLines
from deepmusic_genre.tracks.source import Source
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, segments_of

pytestmark = pytest.mark.fast

ARRAY, LINES = AudioAnalysisJson(), JsonLines()


class _OnlyRead:
    """What a file of a remote file system, or a member of an archive, can be relied on for."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._stream.read(size)


def _read(source: Source, content: bytes) -> list[Track | Rejection]:
    stream: Any = _OnlyRead(content)
    return list(source.read("a/dump", stream))


def _as_array(values: Sequence[Any]) -> bytes:
    return json.dumps(values).encode()


def _as_lines(values: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


FORMS = pytest.mark.parametrize(
    ("source", "write", "place"), [(ARRAY, _as_array, "[{}]"), (LINES, _as_lines, ":{}")], ids=["array", "lines"]
)
Write = Callable[[Sequence[Any]], bytes]


def _place(place: str, index: int) -> str:
    return "a/dump" + place.format(index + (place[0] == ":"))


@FORMS
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_analysis_of_a_dump_is_read(
    source: Source, write: Write, place: str, pack: Callable[[bytes], bytes]
) -> None:
    values = [
        analysis(seed) | {"track_id": f"T{seed}", "Genre": "Jazz", "title": 'a ] } \\ " [ { b'} for seed in range(5)
    ]
    items = _read(source, pack(write(values)))
    for number, (item, value) in enumerate(zip(items, values, strict=True)):
        assert isinstance(item, Track), item
        np.testing.assert_array_equal(item.segments, segments_of(value))
        assert (item.track_id, item.genre, item.source) == (f"T{number}", "Jazz", "audio_analysis")
        assert item.title == value["title"]
        assert item.path == _place(place, number)


@FORMS
def test_bad_ones_are_rejected_with_their_place_and_the_rest_is_read(source: Source, write: Write, place: str) -> None:
    bad_pitch = analysis(1)
    bad_pitch["segments"][3]["pitches"][4] = 1.7
    values: list[Any] = [analysis(0), bad_pitch, {"bars": []}, None, "a, b", analysis(2), 3, []]
    items = _read(source, write(values))
    assert [isinstance(item, Track) for item in items] == [True, False, False, False, False, True, False, False]
    assert [item.path for item in items] == [_place(place, number) for number in range(len(values))]
    reasons = [item.reason for item in items if isinstance(item, Rejection)]
    assert reasons[0] == "segments[3].pitches[4] = 1.7 is outside [0, 1]"
    assert "missing required field `segments`" in reasons[1]
    assert [reason.partition("got ")[2] for reason in reasons[2:]] == ["`null`", "`str`", "`int`", "`array`"]


@FORMS
def test_analysis_without_an_id_is_called_by_its_content_wherever_it_stands(
    source: Source, write: Write, place: str
) -> None:
    first, second = _read(source, write([analysis(0), analysis(1)]))
    again, repeated, _ = _read(source, write([analysis(1), analysis(1), analysis(0)]))
    assert first.track_id != second.track_id == again.track_id == repeated.track_id
    assert isinstance(first, Track)
    assert first.track_id == first.content_digest()


@FORMS
@pytest.mark.parametrize("whole", [0, 1, 4])
def test_truncated_dump_is_read_as_far_as_it_goes(source: Source, write: Write, place: str, whole: int) -> None:
    values = [analysis(seed) for seed in range(5)]
    *tracks, last = _read(source, write(values)[: len(write(values[:whole])) + 100])
    assert len(tracks) == whole
    assert all(isinstance(track, Track) for track in tracks)
    assert isinstance(last, Rejection)
    assert "truncated" in last.reason


@FORMS
def test_truncated_gzip_is_read_as_far_as_it_goes(source: Source, write: Write, place: str) -> None:
    content = gzip.compress(write([analysis(seed, segments=200) for seed in range(20)]))
    *tracks, last = _read(source, content[: len(content) // 2])
    assert len(tracks) > 5
    assert all(isinstance(track, Track) for track in tracks)
    assert isinstance(last, Rejection)
    assert f"truncated or damaged gzip after {'line ' if source is LINES else ''}{len(tracks)}" in last.reason


@FORMS
def test_one_that_is_too_large_is_rejected(
    source: Source, write: Write, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 3 << 20)
    items = _read(source, write([analysis(0), analysis(1) | {"title": "x" * (4 << 20)}, analysis(2)]))
    assert isinstance(items[0], Track)
    assert isinstance(items[1], Rejection)
    assert "larger than 3 MiB" in items[1].reason
    # The array's brackets may be wrong from here on; a line ends where it ends.
    assert len(items) == (3 if source is LINES else 2)


@FORMS
def test_memory_does_not_grow_with_the_dump(source: Source, write: Write, place: str) -> None:
    def peak(copies: int) -> int:
        content = write([analysis(0, segments=300)] * copies)
        stream: BinaryIO = io.BytesIO(content)
        tracemalloc.start()
        for item in source.read("dump", stream):
            assert isinstance(item, Track)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(60) < 1.2 * peak(15)


@FORMS
@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_dump_is_rejected(source: Source, write: Write, place: str, content: bytes) -> None:
    (item,) = _read(source, content)
    assert isinstance(item, Rejection)


def test_empty_array_is_rejected() -> None:
    assert _read(ARRAY, b" [ ] ") == [Rejection("a/dump", "an empty array")]


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" \n\t", b"\xef\xbb\xbf \r\n"])
def test_array_is_told_by_its_first_letter(before: bytes) -> None:
    (item,) = _read(ARRAY, before + _as_array([analysis(0)]))
    assert item.path == "a/dump[0]"


@pytest.mark.parametrize("tail", [b"]", b" x", b"{}"])
def test_what_follows_the_array_is_told(tail: bytes) -> None:
    first, last = _read(ARRAY, _as_array([analysis(0)]) + tail)
    assert isinstance(first, Track)
    assert last == Rejection("a/dump", "something follows the end of the array, after 1 analyses")


def test_lines_may_be_blank_and_end_as_on_windows() -> None:
    content = b"\xef\xbb\xbf" + _as_lines([analysis(0)]).replace(b"\n", b"\r\n\r\n") + _as_lines([analysis(1)])[:-1]
    assert [item.path for item in _read(LINES, content)] == ["a/dump:1", "a/dump:3"]


def test_gzip_that_swells_beyond_measure_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1 << 20)
    bomb = gzip.compress((b" " * 1000 + b"\n") * 64_000)
    (item,) = _read(LINES, bomb)
    assert isinstance(item, Rejection)
    assert "decompression bomb" in item.reason


# The array's elements

EXPLORED = settings(deadline=None, derandomize=True, max_examples=100)
TEXTS = st.text(st.sampled_from(list('\\"{}[],: aé\n')), max_size=8)
JSON = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@EXPLORED
@given(st.lists(JSON), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_elements_are_those_that_json_sees(value: list[Any], block: int, indent: int | None, ascii_only: bool) -> None:
    content = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_BLOCK_BYTES", block)
        assert [json.loads(element) for element in elements(io.BytesIO(content))] == value
        keyed = {f'{number}"{{\\': element for number, element in enumerate(value)}
        nested = [(key, element) for key, element in keyed.items() if isinstance(element, list | dict)]
        text = json.dumps(keyed).encode()
        parts = [text[: len(text) // 2], text[len(text) // 2 :]]
        assert [(key, json.loads(element)) for key, element in members(parts)] == nested


@EXPLORED
@given(st.binary(), st.integers(1, 40))
def test_arbitrary_bytes_after_a_bracket_are_rejected(content: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_BLOCK_BYTES", block)
        items = _read(ARRAY, b"[" + content)
    assert items
    assert all(isinstance(item, Rejection) for item in items)
