"""Audio analyses as other programs keep them: in wrappers, keyed by id, as columns, as text, from R and from MongoDB.

One rule: an object that holds one list of segments near its top is an analysis, and what its wrapper says of the track
belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES, flat_audio_features, known_audio_features
from deepmusic_genre.tracks.track import InvalidTrack

MAX_LEVELS = 4
"""Objects around an analysis."""

_MAX_TEXT_LEVELS = 2
_SEGMENT_FIELDS = ("start", "duration", "timbre", "pitches")
_VECTORS = ("timbre", "pitches")
_NAMES = {
    "track_id": ("track_id", "id", "_id", "spotify_id"),
    "artist_id": ("artist_id",),
    "artist": ("artist", "artist_name", "artists"),
    "title": ("title", "name", "track_name"),
    "genre": ("genre", "Genre"),
    "analyser": ("analyser",),
}
_MONGO_TEXT = ("$oid",)
_MONGO_NUMBERS = ("$numberDouble", "$numberInt", "$numberLong", "$numberDecimal")
_LAYOUTS = (
    (
        re.compile(rb"\s*[\[{(]\s*'"),
        "Python's repr, not JSON: read it with ast.literal_eval, write it with json.dump",
    ),
    (re.compile(rb"\s*<"), "a web page or XML, not JSON: fetch the analysis again, as JSON"),
    (
        re.compile(rb"\s*\{[^\n]*\}\s*\n\s*\{"),
        "several JSON values one after another: as JSON lines, with the ending .jsonl, they are read",
    ),
    (re.compile(rb"\s*\w+\s*\(\s*[\[{]"), "JSONP, not JSON: leave out the function's name and its brackets"),
)


@dataclass(frozen=True)
class Found:
    """An analysis found in a file.

    Attributes:
        fields: As a plain analysis has them: ``segments``, and what is known of the track.
        keys: Where it stands, from the top down.
    """

    fields: dict[str, Any]
    keys: tuple[str | int, ...] = field(default=())

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return "".join(f"[{key}]" for key in self.keys)


def find(content: bytes) -> list[Found]:
    """The analyses in a JSON text, in order.

    Raises:
        InvalidTrack: there is none, and the reason is known.
    """
    value = msgspec.json.decode(content)
    found = list(_in(value, (), MAX_LEVELS))
    if not found:
        _name_other(_unpacked(value))
    return found


def layout(content: bytes) -> str:
    """What a text is that is no JSON, and how to convert it; empty where that is unknown."""
    return next((name for pattern, name in _LAYOUTS if pattern.match(content)), "")


def _name_other(value: Any) -> None:
    if not isinstance(value, dict):
        return
    if "error" in value:
        said = value["error"].get("message", "") if isinstance(value["error"], dict) else value["error"]
        raise InvalidTrack(f"a service's error instead of an analysis: {str(said)[:100]}")
    if "danceability" in value:
        raise InvalidTrack("Spotify's audio features, not an audio analysis: fetch /v1/audio-analysis of the track")


def _in(value: Any, keys: tuple[str | int, ...], levels: int) -> Iterator[Found]:
    value = _unpacked(value)
    if isinstance(value, list):
        for index, item in enumerate(value):
            if not isinstance(item, list):
                yield from _in(item, (*keys, index), levels)
    elif isinstance(value, dict):
        rows = _rows(value)
        if rows is not None:
            for key, row in rows:
                yield from _in(row, (*keys, key), levels)
            return
        segments = _segments(value)
        if segments is not None:
            yield Found(_plain(value, segments), keys)
        elif levels:
            yield from _below(value, keys, levels)


def _below(value: dict[str, Any], keys: tuple[str | int, ...], levels: int) -> Iterator[Found]:
    parts = {key: list(_in(part, (*keys, key), levels - 1)) for key, part in value.items()}
    parts = {key: found for key, found in parts.items() if found}
    facts = _facts(value)
    if len(parts) == 1:
        ((key, found),) = parts.items()
        if len(found) == 1:
            # A lone key is mostly a word such as "analysis"; ids have digits.
            named = {"track_id": key} if any(letter.isdigit() for letter in key) else {}
            found = [replace(found[0], fields=_joined({**named, **facts}, found[0].fields))]
        yield from found
        return
    numbered = list(parts) == [str(index) for index in range(len(parts))]
    for key, found in parts.items():
        named = {"track_id": key} if len(found) == 1 and not numbered else {}
        yield from (replace(item, fields={**named, **item.fields}) for item in found)


def _joined(facts: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What an analysis says of itself, and what it does not say its wrapper does."""
    features = {**facts.get("audio_features", {}), **fields.get("audio_features", {})}
    return {**facts, **fields, **({"audio_features": features} if features else {})}


def _rows(value: dict[str, Any]) -> list[tuple[str | int, dict[str, Any]]] | None:
    """The rows of a table kept as columns, each an object (pandas) or a list (R); None if it is none."""
    segments = _unpacked(value.get("segments"))
    if isinstance(segments, dict) and segments and not set(_VECTORS) & set(segments):
        columns = {name: column for name, column in value.items() if isinstance(column, dict)}
        return [
            (key, {name: column[key] for name, column in columns.items() if column.get(key) is not None})
            for key in segments
        ]
    if isinstance(segments, list) and segments and all(isinstance(_unpacked(row), list | dict) for row in segments):
        if not all(_is_segments(row) for row in segments):
            return None
        columns_of = {
            name: column for name, column in value.items() if isinstance(column, list) and len(column) == len(segments)
        }
        return [(index, {name: column[index] for name, column in columns_of.items()}) for index in range(len(segments))]
    return None


def _is_segments(value: Any) -> bool:
    """Whether a value is a list of segments, or the columns of one, rather than one segment."""
    value = _unpacked(value)
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) and "timbre" in item for item in value)
    return isinstance(value, dict) and _is_matrix(value.get("timbre")) and _is_matrix(value.get("pitches"))


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) and len(row) > 1 for row in value)


def _segments(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The segments that an object holds itself, in a list or as columns; None where it holds none."""
    segments = _unpacked(value.get("segments"))
    if isinstance(segments, list) and segments and all(isinstance(item, dict) for item in segments):
        return [_segment(item) for item in segments]
    for columns in (segments, value):
        if isinstance(columns, dict) and all(_is_matrix(_unpacked(columns.get(name))) for name in _VECTORS):
            return _from_columns({name: _unpacked(columns.get(name)) for name in _SEGMENT_FIELDS})
    return None


def _from_columns(columns: dict[str, Any]) -> list[dict[str, Any]]:
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidTrack(f"the columns of its segments differ in length: {lengths}")
    return [_segment(dict(zip(lists, row, strict=True))) for row in zip(*lists.values(), strict=True)]


def _segment(segment: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in _SEGMENT_FIELDS:
        if name in segment:
            value = _unpacked(segment[name])
            is_vector = name in _VECTORS and isinstance(value, list)
            plain[name] = [_scalar(item) for item in value] if is_vector else _scalar(value)
    return plain


def _plain(value: dict[str, Any], segments: list[dict[str, Any]]) -> dict[str, Any]:
    meta, track = (_object(value.get(name)) for name in ("meta", "track"))
    fields = _facts(value)
    fields["segments"] = segments
    if meta:
        fields["meta"] = {name: of for name in ("status_code", "detailed_status") if (of := _scalar(meta.get(name)))}
    duration = _scalar(track.get("duration"))
    if duration is not None:
        fields["track"] = {"duration": duration}
    elif not isinstance(value.get("track"), dict | list | str | type(None)):
        fields["track"] = value["track"]  # Rejected with its place, as in a plain analysis.
    return fields


def _facts(value: dict[str, Any]) -> dict[str, Any]:
    """What an object says of its track, or the object ``track`` in it, as in an answer of several parts."""
    facts: dict[str, Any] = {}
    for part in (value, _object(value.get("track"))):
        for fact, names in _NAMES.items():
            found = next((text for name in names if (text := _text(part.get(name)))), "")
            if found and fact not in facts:
                facts[fact] = found
        artist = _first(part.get("artists")) or _object(part.get("artist"))
        if "artist_id" not in facts and _text(artist.get("id")):
            facts["artist_id"] = _text(artist.get("id"))
    features = {**audio_features(_object(value.get("track"))), **audio_features(value)}
    if features:
        facts["audio_features"] = features
    return facts


def audio_features(value: dict[str, Any]) -> dict[str, float]:
    """What an object says of its track's audio features, in an object of their own or among its facts."""
    own = _lenient(_unpacked(value.get("audio_features")))
    own = own if isinstance(own, dict) else {}
    flat, inner = ({name: _lenient(part.get(name)) for name in AUDIO_FEATURES} for part in (value, own))
    return {**flat_audio_features(flat), **known_audio_features(inner)}


def _lenient(value: Any) -> Any:
    """As :func:`_scalar`, with None for what would reject the track."""
    try:
        return _scalar(value)
    except InvalidTrack:
        return None


def _text(value: Any) -> str:
    """A fact as text: of a list of artists the first one's, of an object its name."""
    value = _scalar(value)
    if isinstance(value, list) and value:
        value = _scalar(value[0])
    if isinstance(value, dict):
        value = _scalar(value.get("name"))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _first(value: Any) -> dict[str, Any]:
    return _object(value[0]) if isinstance(value, list) and value else {}


def _object(value: Any) -> dict[str, Any]:
    value = _scalar(_unpacked(value))
    return value if isinstance(value, dict) else {}


def _scalar(value: Any) -> Any:
    """What R writes as a list of one, and MongoDB as an object of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind in _MONGO_TEXT:
            return inner
        if kind in _MONGO_NUMBERS:
            try:
                return float(inner)
            except (TypeError, ValueError) as error:
                raise InvalidTrack(f"{kind} is {inner!r:.50}, not a number") from error
    return value


def _unpacked(value: Any) -> Any:
    """What a text holds that is itself JSON of an object or a list."""
    for _ in range(_MAX_TEXT_LEVELS):
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[", '"')):
            return value
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value
