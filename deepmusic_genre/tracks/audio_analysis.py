"""Spotify's (and Echo Nest's) audio-analysis JSON: one file a track or an array of them, plain or compressed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import BufferedReader
from itertools import chain, islice
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from deepmusic_genre.tracks import analysis_forms
from deepmusic_genre.tracks.json_array import blocks, elements, members, objects
from deepmusic_genre.tracks.source import read_bounded, require_bounded
from deepmusic_genre.tracks.streams import GZIP_ERRORS, first_letter, text_of, with_compressions
from deepmusic_genre.tracks.track import ECHO_NEST, N_COEFFICIENTS, InvalidTrack, Rejection, Track, segment_matrix

_Vector = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


class _Segment(msgspec.Struct, gc=False):
    timbre: _Vector
    pitches: _Vector
    start: float | None = None
    duration: float | None = None


class _AudioAnalysis(msgspec.Struct):
    segments: list[_Segment]


class _Meta(msgspec.Struct):
    """What the analyser says of its own work; 0 means that all went well."""

    status_code: Any = None
    detailed_status: Any = None


class _TrackInfo(msgspec.Struct):
    duration: float | None = None


class _Facts(msgspec.Struct):
    """What an analysis says besides its segments, in the form of :func:`~.analysis_forms.facts_of`."""

    meta: _Meta = msgspec.field(default_factory=_Meta)
    track: _TrackInfo = msgspec.field(default_factory=_TrackInfo)
    status: Any = None
    track_id: str = ""
    artist_id: str = ""
    artist: str = ""
    title: str = ""
    genres: tuple[str, ...] = ()
    audio_features: dict[str, float] = {}
    analyser: str = ECHO_NEST


ANALYSIS_NAME = "audio_analysis"
"""What the ``source`` of a track says that was read from such an analysis, alone in a file or among others."""

_USUAL_BYTES = 1 << 20
_LARGE_BYTES = 1 << 24
"""From which size on an object is looked at before it is read whole."""

_NOT_A_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")
_DECODER = msgspec.json.Decoder(_AudioAnalysis)
_SEGMENT_DECODER = msgspec.json.Decoder(_Segment)
_MEMBERS_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FAILURES = {"unavailable", "pending", "forbidden", "timeout"}


class AudioAnalysisJson:
    """Reads audio-analysis JSON as Spotify's Web API served it, one a file, or an array of any number of them.

    Only ``segments`` is needed, of which only ``timbre`` and ``pitches``. They are put in order of their starts; where
    they have no durations, the starts tell them. ``track.duration`` falls back to the segments' sum. An id, genres,
    an artist, a title and an ``analyser`` other than Echo Nest's are taken from where a dump added them, beside the
    segments or in an object there. For other forms see :mod:`~.analysis_forms`.
    """

    name = ANALYSIS_NAME
    suffixes = with_compressions(".json")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields the file's track or each of its tracks, or rejections; see :class:`~.source.Source`."""
        try:
            content = text_of(stream)
            if first_letter(content) == b"[":
                yield from read_array(path, content)
            else:
                yield from _read_object(content, path)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except GZIP_ERRORS as error:
            yield Rejection(path, f"truncated or damaged gzip: {error}")


def read_records(content: bytes, path: str) -> Iterator[Track | Rejection]:
    """Reads one of the many analyses of a file, which may itself hold several.

    Args:
        content: its JSON.
        path: where it stands.

    Yields:
        A track, which if it names no id is called by its content's hash: where it stands changes when the dump is made
        again, and a track that changed its id could change its split. Or the reason why there is none.
    """
    try:
        require_bounded(len(content))
        for item in _read_text(content, path):
            yield named(item, path) if isinstance(item, Track) else item
    except InvalidTrack as error:
        yield Rejection(path, str(error))


def named(track: Track, path: str) -> Track:
    """The track with an id and a path, where it has none: a hash of its content, and where it stands."""
    return replace(track, track_id=track.track_id or track.content_digest(), path=track.path or path)


def _read_object(stream: BufferedReader, path: str) -> Iterator[Track | Rejection]:
    """Reads the analysis or analyses of an object; a large one of many that are keyed by id, one by one.

    Raises:
        InvalidTrack: it holds none, or is too large to be anything else.
    """
    begun = stream.read(_USUAL_BYTES)
    if len(begun) == _USUAL_BYTES:
        begun += stream.read(_LARGE_BYTES - _USUAL_BYTES)
    if len(begun) == _LARGE_BYTES and _is_keyed(begun):
        yield from _read_keyed(chain([begun], blocks(stream)), path)
        return
    if len(begun) == _LARGE_BYTES:
        begun += read_bounded(stream)
    require_bounded(len(begun))
    yield from _read_text(begun, path)


def _is_keyed(begun: bytes) -> bool:
    """Whether the first two objects in an object, of which this is the beginning, are plain analyses."""
    try:
        first = [value for _, value in islice(members([begun]), 2)]
    except InvalidTrack:
        return False
    return len(first) == 2 and all(map(_is_analysis, first))


def _is_analysis(content: bytes) -> bool:
    try:
        _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _read_keyed(text: Iterable[bytes], path: str) -> Iterator[Track | Rejection]:
    count = 0
    try:
        for count, (key, content) in enumerate(members(text), 1):
            yield from _read_member("" if key == str(count - 1) else key, content, f"{path}[{key}]")
    except InvalidTrack as error:
        raise InvalidTrack(f"{error}, after {count:,} analyses") from error
    except GZIP_ERRORS as error:
        raise InvalidTrack(f"truncated or damaged gzip after {count:,} analyses: {error}") from error


def _read_member(track_id: str, content: bytes, place: str) -> Iterator[Track | Rejection]:
    try:
        require_bounded(len(content))
        for item in _read_text(content, place):
            own = replace(item, track_id=item.track_id or track_id) if isinstance(item, Track) else item
            yield named(own, place) if isinstance(own, Track) else own
    except InvalidTrack as error:
        yield Rejection(place, str(error), track_id)


def _read_text(content: bytes, path: str) -> Iterator[Track | Rejection]:
    """Reads a text that holds one analysis, or several keyed by ids or in a wrapper.

    Raises:
        InvalidTrack: it holds none.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        analysis = _DECODER.decode(content)
        members = _MEMBERS_DECODER.decode(content)
        said = {name: msgspec.json.decode(of) for name, of in members.items() if name not in analysis_forms.LONG_LISTS}
    except msgspec.ValidationError as error:
        yield from _read_other_form(content, path, error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidTrack(_json_fault(content) or f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidTrack("not an audio analysis: its JSON is nested too deeply") from error
    else:
        yield _track_of(analysis.segments, analysis_forms.facts_of(said))


def _read_other_form(content: bytes, path: str, fault: msgspec.ValidationError) -> Iterator[Track | Rejection]:
    try:
        found = analysis_forms.find(msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidTrack(_json_fault(content) or f"not an audio analysis: {fault}") from fault
    if not found:
        raise InvalidTrack(f"not an audio analysis: {fault}") from fault
    yield from read_found(found, path)


def read_found(found: Sequence[analysis_forms.Found], path: str) -> Iterator[Track | Rejection]:
    """Reads the analyses that :func:`~.analysis_forms.find` found; of several, each has its place, and an id.

    Raises:
        InvalidTrack: there is none, or the only one is at fault.
    """
    if not found:
        raise InvalidTrack("not an audio analysis: it has no segments with timbre and pitches")
    if len(found) == 1:
        yield _converted(found[0])
        return
    for item in found:
        place = f"{path}{item.place}"
        try:
            yield named(_converted(item), place)
        except InvalidTrack as error:
            yield Rejection(place, str(error), item.facts.get("track_id", ""))


def _converted(found: analysis_forms.Found) -> Track:
    try:
        analysis = msgspec.convert({"segments": found.segments}, _AudioAnalysis)
    except msgspec.ValidationError as error:
        raise InvalidTrack(f"not an audio analysis: {error}") from error
    return _track_of(analysis.segments, found.facts)


def _json_fault(content: bytes) -> str:
    if _NOT_A_NUMBER.search(content):
        return "it holds NaN or Infinity, which are neither JSON nor an analysis's values"
    form = analysis_forms.layout(content)
    return f"it is {form}" if form else ""


def read_array(path: str, stream: BufferedReader) -> Iterator[Track | Rejection]:
    """Reads the analyses of an array, or the one whose segments are the array's elements.

    Raises:
        InvalidTrack: the array is empty, or damaged from some place on.
    """
    return _read_each(path, elements(stream))


def read_objects(path: str, stream: BufferedReader) -> Iterator[Track | Rejection]:
    """Reads analyses that follow one another over any number of lines each; raises as :func:`read_array`."""
    return _read_each(path, objects(stream))


def _read_each(path: str, texts: Iterator[bytes]) -> Iterator[Track | Rejection]:
    count = 0
    try:
        for count, content in enumerate(texts, 1):
            if count == 1 and _is_segment(content):
                yield from _read_text(_joined(chain([content], texts)), path)
            else:
                yield from read_records(content, f"{path}[{count - 1}]")
    except InvalidTrack as error:
        raise InvalidTrack(f"{error}, after {count:,} analyses") from error
    except GZIP_ERRORS as error:
        raise InvalidTrack(f"truncated or damaged gzip after {count:,} analyses: {error}") from error
    if not count:
        raise InvalidTrack("an empty array")


def _is_segment(content: bytes) -> bool:
    try:
        _SEGMENT_DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _joined(elements: Iterable[bytes]) -> bytes:
    content = bytearray()
    for element in elements:
        content += (b"," if content else b"[") + element
        require_bounded(len(content))
    return bytes(content + b"]")


def _track_of(segments: list[_Segment], said: dict[str, Any]) -> Track:
    try:
        facts = msgspec.convert(said, _Facts)
    except msgspec.ValidationError as error:
        raise InvalidTrack(f"not an audio analysis: {error}") from error
    _require_success(facts)
    matrix, durations = _in_order(segments, facts.track.duration)
    total = 0.0 if durations is None else float(durations.sum())
    genre, *others = facts.genres or ("",)
    return Track(
        track_id=facts.track_id,
        source=ANALYSIS_NAME,
        duration=facts.track.duration or total,
        segments=matrix,
        artist_id=facts.artist_id,
        artist=facts.artist,
        title=facts.title,
        genre=genre,
        other_genres=tuple(others),
        analyser=facts.analyser,
        durations=durations,
        audio_features=facts.audio_features,
    )


def _require_success(facts: _Facts) -> None:
    code = facts.meta.status_code
    if _is_failure(code):
        said = f" ({facts.meta.detailed_status})" if facts.meta.detailed_status else ""
        raise InvalidTrack(f"the analysis says of itself that it failed: meta.status_code is {code}{said}")
    if _is_failure(facts.status):
        raise InvalidTrack(f"the analysis says of itself that it failed: the track's status is {facts.status}")


def _is_failure(status: Any) -> bool:
    """Whether a status tells of anything but success: a number that is not 0, or a word for a failure."""
    word = str(status).strip().casefold()
    try:
        return float(word) != 0
    except ValueError:
        return "error" in word or "fail" in word or word in _FAILURES


def _in_order(
    segments: list[_Segment], track_duration: float | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64] | None]:
    """The segments in order of their starts, and their durations: None where neither these nor the starts are said."""
    durations = _known([segment.duration for segment in segments])
    matrix = segment_matrix(
        _matrix([segment.timbre for segment in segments]),
        _matrix([segment.pitches for segment in segments]),
        durations,
    )
    # What is beyond the matrix is padding, whose starts say nothing.
    starts = _known([segment.start for segment in segments[: len(matrix)]])
    durations = None if durations is None else durations[: len(matrix)]
    if starts is None:
        return matrix, durations
    if (np.diff(starts) < 0).any():
        order = np.argsort(starts, kind="stable")
        matrix, starts = matrix[order], starts[order]
        durations = None if durations is None else durations[order]
    return matrix, _differences(starts, track_duration) if durations is None else durations


def _known(values: list[float | None]) -> npt.NDArray[np.float64] | None:
    return None if None in values else np.array(values, np.float64)


def _differences(starts: npt.NDArray[np.float64], track_duration: float | None) -> npt.NDArray[np.float64]:
    """Durations by the starts; the last segment runs to the track's end, else it is as long as the median one."""
    between = np.diff(starts)
    last = float(np.median(between)) if track_duration is None else max(track_duration - starts[-1], 0.0)
    return np.append(between, last)


def _matrix(vectors: list[_Vector]) -> npt.NDArray[np.float32]:
    """Stacks vectors of 12 to ``[len(vectors), 12]``; three times as fast as ``np.array`` on nested sequences."""
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is rejected as such.
        values = np.fromiter(chain.from_iterable(vectors), np.float32, len(vectors) * N_COEFFICIENTS)
    return values.reshape(len(vectors), N_COEFFICIENTS)
