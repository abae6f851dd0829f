"""Spotify's (and Echo Nest's) audio-analysis JSON: one file a track or an array of them, plain or compressed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from itertools import chain
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np
import numpy.typing as npt

from deepmusic_genre.tracks import analysis_forms
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES, known_audio_features
from deepmusic_genre.tracks.json_array import elements
from deepmusic_genre.tracks.source import read_bounded, require_bounded
from deepmusic_genre.tracks.streams import GZIP_ERRORS, first_letter, text_of, with_compressions
from deepmusic_genre.tracks.track import ECHO_NEST, N_COEFFICIENTS, InvalidTrack, Rejection, Track, segment_matrix

_Vector = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


class _Segment(msgspec.Struct, gc=False):
    timbre: _Vector
    pitches: _Vector
    start: float | None = None
    duration: float | None = None


class _Meta(msgspec.Struct):
    """What the analyser says of its own work; 0 means that all went well."""

    status_code: int | None = None
    detailed_status: str | None = None


class _ObjectId(msgspec.Struct, rename={"oid": "$oid"}):
    """An id as MongoDB exports it."""

    oid: str


class _TrackInfo(msgspec.Struct):
    duration: float | None = None
    id: str | None = None
    # The audio features that an analysis has itself; whatever they are, no reason to do without the track.
    key: Any = None
    loudness: Any = None
    mode: Any = None
    tempo: Any = None
    time_signature: Any = None


class _Artist(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Crawl(msgspec.Struct):
    """What a crawl of Spotify stores beside the analysis."""

    title: str | None = None
    artists: list[_Artist] = []


class _AudioAnalysis(msgspec.Struct):
    segments: list[_Segment]
    meta: _Meta | None = None
    track: _TrackInfo | None = None
    track_id: str | int | None = None
    id: str | int | None = None
    object_id: _ObjectId | str | int | None = msgspec.field(default=None, name="_id")
    genre: str | None = None
    # What the original project's array calls it.
    Genre: str | None = None
    artist_id: str | None = None
    artist: str | None = None
    title: str | None = None
    analyser: str | None = None
    crawl: msgspec.Raw = msgspec.Raw()
    audio_features: Any = None


_Analysis = cast(
    "type[_AudioAnalysis]",
    msgspec.defstruct("_Analysis", [(name, Any, None) for name in AUDIO_FEATURES], bases=(_AudioAnalysis,)),
)
"""With audio features among its facts, as dumps have them."""


ANALYSIS_NAME = "audio_analysis"
"""What the ``source`` of a track says that was read from such an analysis, alone in a file or among others."""

_NOT_A_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")
_DECODER = msgspec.json.Decoder(_Analysis)
_CRAWL_DECODER = msgspec.json.Decoder(_Crawl)


class AudioAnalysisJson:
    """Reads audio-analysis JSON as Spotify's Web API served it, one a file, or an array of any number of them.

    Only ``segments`` is needed, of which only ``timbre`` and ``pitches``. They are put in order of their starts; where
    they have no durations, the starts tell them. ``track.duration`` falls back to the segments' sum. An id, a genre,
    an artist, a title and an ``analyser`` other than Echo Nest's are taken from where a dump added them: the analysis
    itself holds none. For other forms see :mod:`~.analysis_forms`.
    """

    name = ANALYSIS_NAME
    suffixes = with_compressions(".json")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields the file's track or each of its tracks, or rejections; see :class:`~.source.Source`."""
        try:
            content = text_of(stream)
            if first_letter(content) == b"[":
                yield from _read_array(path, content)
            else:
                yield from _read_text(read_bounded(content), path)
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
            yield _named(item, path) if isinstance(item, Track) else item
    except InvalidTrack as error:
        yield Rejection(path, str(error))


def _named(track: Track, path: str) -> Track:
    return replace(track, track_id=track.track_id or track.content_digest(), path=track.path or path)


def _read_text(content: bytes, path: str) -> Iterator[Track | Rejection]:
    """Reads a text that holds one analysis, or several keyed by ids or in a wrapper.

    Raises:
        InvalidTrack: it holds none.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        analysis = _DECODER.decode(content)
    except msgspec.ValidationError as error:
        yield from _read_other_form(content, path, error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidTrack(_json_fault(content) or f"not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidTrack("not an audio analysis: its JSON is nested too deeply") from error
    else:
        yield _track_of(analysis)


def _read_other_form(content: bytes, path: str, fault: msgspec.ValidationError) -> Iterator[Track | Rejection]:
    try:
        found = analysis_forms.find(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidTrack(_json_fault(content) or f"not an audio analysis: {fault}") from fault
    if not found:
        raise InvalidTrack(f"not an audio analysis: {fault}") from fault
    if len(found) == 1:
        yield _converted(found[0].fields)
        return
    for item in found:
        place = f"{path}{item.place}"
        try:
            yield _named(_converted(item.fields), place)
        except InvalidTrack as error:
            yield Rejection(place, str(error), str(item.fields.get("track_id", "")))


def _converted(fields: dict[str, Any]) -> Track:
    try:
        return _track_of(msgspec.convert(fields, _Analysis))
    except msgspec.ValidationError as error:
        raise InvalidTrack(f"not an audio analysis: {error}") from error


def _json_fault(content: bytes) -> str:
    if _NOT_A_NUMBER.search(content):
        return "it holds NaN or Infinity, which are neither JSON nor an analysis's values"
    form = analysis_forms.layout(content)
    return f"it is {form}" if form else ""


def _read_array(path: str, stream: BufferedReader) -> Iterator[Track | Rejection]:
    count = 0
    try:
        for count, content in enumerate(elements(stream), 1):
            yield from read_records(content, f"{path}[{count - 1}]")
    except InvalidTrack as error:
        raise InvalidTrack(f"{error}, after {count:,} analyses") from error
    except GZIP_ERRORS as error:
        raise InvalidTrack(f"truncated or damaged gzip after {count:,} analyses: {error}") from error
    if not count:
        raise InvalidTrack("an empty array")


def _track_of(analysis: _AudioAnalysis) -> Track:
    _require_success(analysis.meta)
    info = analysis.track or _TrackInfo()
    matrix, durations = _in_order(analysis.segments, info.duration)
    total = 0.0 if durations is None else float(durations.sum())
    crawl = _crawl(analysis.crawl)
    artist = crawl.artists[0] if crawl.artists else _Artist()
    return Track(
        track_id=_id(analysis, info),
        source=ANALYSIS_NAME,
        duration=total if info.duration is None else info.duration,
        segments=matrix,
        artist_id=analysis.artist_id or artist.id or "",
        artist=analysis.artist or artist.name or "",
        title=analysis.title or crawl.title or "",
        genre=analysis.genre or analysis.Genre or "",
        analyser=analysis.analyser or ECHO_NEST,
        durations=durations,
        audio_features=_audio_features(analysis, info),
    )


def _audio_features(analysis: _AudioAnalysis, info: _TrackInfo) -> dict[str, float]:
    """Those that a dump has beside the analysis, and else the analysis's own."""
    beside = analysis_forms.audio_features(msgspec.structs.asdict(analysis))
    return {**known_audio_features(msgspec.structs.asdict(info)), **beside}


def _require_success(meta: _Meta | None) -> None:
    if meta and meta.status_code:
        said = f" ({meta.detailed_status})" if meta.detailed_status else ""
        raise InvalidTrack(f"the analysis says of itself that it failed: meta.status_code is {meta.status_code}{said}")


def _id(analysis: _AudioAnalysis, info: _TrackInfo) -> str:
    own = analysis.object_id.oid if isinstance(analysis.object_id, _ObjectId) else analysis.object_id
    return str(next((found for found in (analysis.track_id, analysis.id, info.id, own) if found is not None), ""))


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


def _crawl(content: msgspec.Raw) -> _Crawl:
    try:
        return _CRAWL_DECODER.decode(content) if bytes(content) else _Crawl()
    except msgspec.DecodeError:
        return _Crawl()  # Another program's, of that name: no reason to do without the track.


def _matrix(vectors: list[_Vector]) -> npt.NDArray[np.float32]:
    """Stacks vectors of 12 to ``[len(vectors), 12]``; three times as fast as ``np.array`` on nested sequences."""
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is rejected as such.
        values = np.fromiter(chain.from_iterable(vectors), np.float32, len(vectors) * N_COEFFICIENTS)
    return values.reshape(len(vectors), N_COEFFICIENTS)
