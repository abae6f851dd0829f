"""Audio analyses as other programs keep them: in wrappers, keyed by id, as columns, as text, from R and from MongoDB.

One rule: an object that holds one list of segments near its top is an analysis, and what its wrapper says of the track
belongs to it, in whatever object it says so. What is said of a collection belongs to none of its items.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
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
    "track_id": ("track_id", "id", "_id", "trackid", "spotifyid", "songid"),
    "artist_id": ("artist_id", "artistid"),
    "artist": ("artist", "artistname", "artists"),
    "title": ("title", "name", "trackname", "tracktitle", "songname", "songtitle"),
    "analyser": ("analyser",),
}
_GENRES = ("genre", "genres", "genretop", "trackgenre")
"""The usual names of facts; one of several words also stands for other ways to write it, see :func:`_by_name`."""

_AMBIGUOUS = {"id", "_id", "name"}
"""Names that in an object beside the analysis may be those of anything."""

_OF_TRACK = {
    *(
        "track",
        "trackinfo",
        "trackmetadata",
        "trackdata",
        "song",
        "songinfo",
        "metadata",
        "meta",
        "info",
        "tags",
        "crawl",
    ),
    *("spotify", "details", "audiofeatures", "features"),
}
_OF_OTHERS = {
    *("album", "albums", "release", "artist", "artists", "label", "playlist", "playlists", "user", "owner", "request"),
    *("status", "error", "similar", "recommendations", "context"),
}
"""Objects beside an analysis by what they tell of, the track or something else, without case and underscores."""

_FACT_LEVELS = 2
"""Objects within one another in which facts are looked for."""

LONG_LISTS = frozenset({"segments", "bars", "beats", "tatums", "sections"})
"""What an analysis holds besides facts."""

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
        segments: As a plain analysis has them.
        facts: See :func:`facts_of`.
        keys: Where it stands, from the top down.
        is_item: Whether it is one of a collection.
    """

    segments: list[dict[str, Any]]
    facts: dict[str, Any]
    keys: tuple[str | int, ...] = ()
    is_item: bool = False

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return "".join(f"[{key}]" for key in self.keys)


def find(value: Any) -> list[Found]:
    """The analyses in a JSON value, in order.

    Raises:
        InvalidTrack: there is none, and the reason is known.
    """
    found = list(_in(value, (), MAX_LEVELS))
    if not found:
        _name_other(_unpacked(value))
    return found


def facts_of(value: dict[str, Any]) -> dict[str, Any]:
    """What an object that is an analysis says of itself and of its track.

    Returns:
        ``track_id``, ``artist_id``, ``artist``, ``title``, ``analyser`` as texts, ``genres`` as a list of texts and
        ``audio_features``, where they are known; ``meta``, ``track`` and ``status`` with what they say of duration and
        failure.
    """
    meta, track = _object(value.get("meta")), _object(value.get("track"))
    facts = _facts(value, ())
    facts["meta"] = {name: _scalar(meta.get(name)) for name in ("status_code", "detailed_status")}
    facts["track"] = {"duration": _scalar(track.get("duration"))}
    facts["status"] = _status(value)
    # Those that an analysis has itself, and before these what is said beside it.
    own = known_audio_features({name: _lenient(of) for name, of in track.items()})
    facts["audio_features"] = {**own, **audio_features(value)}
    if not isinstance(value.get("track"), dict | list | str | type(None)):
        facts["track"] = value["track"]  # Rejected with its place.
    return facts


def layout(content: bytes) -> str:
    """What a text is that is no JSON, and how to convert it; empty where that is unknown."""
    return next((name for pattern, name in _LAYOUTS if pattern.match(content)), "")


def _name_other(value: Any) -> None:
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        raise InvalidTrack("a row without the names of its columns: write rows as objects (pandas: orient='records')")
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
        if _is_segments(value):
            yield Found([_segment(item) for item in value], {}, keys)
            return
        for index, item in enumerate(value):
            if not isinstance(item, list):
                yield from _items_in(item, (*keys, index), levels)
    elif isinstance(value, dict):
        rows = _rows(value)
        if rows is not None:
            for key, row in rows:
                yield from _items_in(row, (*keys, key), levels)
            return
        segments = _segments(value)
        if segments is not None:
            yield Found(segments, facts_of(value), keys)
        elif levels:
            yield from _below(value, keys, levels)


def _items_in(value: Any, keys: tuple[str | int, ...], levels: int) -> Iterator[Found]:
    return (replace(found, is_item=True) for found in _in(value, keys, levels))


def _below(value: dict[str, Any], keys: tuple[str | int, ...], levels: int) -> Iterator[Found]:
    parts = {key: list(_in(part, (*keys, key), levels - 1)) for key, part in value.items()}
    parts = {key: found for key, found in parts.items() if found}
    every = [(key, item) for key, found in parts.items() for item in found]
    if len(every) == 1:
        ((key, item),) = every
        if item.is_item:
            yield item
            return
        # A lone key is mostly a word such as "analysis"; ids have digits.
        is_id = any(letter.isdigit() for letter in key)
        facts = {**({"track_id": key} if is_id else {}), **_facts(value, parts)}
        facts["audio_features"] = {**audio_features(_object(value.get("track"))), **audio_features(value)}
        facts["status"] = _status(value)
        yield replace(item, facts=_joined(facts, item.facts), is_item=is_id)
        return
    numbered = list(parts) == [str(index) for index in range(len(parts))]
    for key, item in every:
        named = {} if item.is_item or numbered else {"track_id": key}
        yield replace(item, facts={**named, **item.facts}, is_item=True)


def _joined(facts: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What an analysis says of itself, and what it does not say its wrapper does."""
    features = {**facts["audio_features"], **own.get("audio_features", {})}
    return {**facts, **own, "audio_features": features, "status": own.get("status") or facts["status"]}


def _rows(value: dict[str, Any]) -> list[tuple[str | int, dict[str, Any]]] | None:
    """The rows of a table kept as columns, each an object (pandas) or a list (R), or with its columns' names apart."""
    if _is_split(value):
        return list(enumerate(_split_rows(value)))
    segments = _unpacked(value.get("segments"))
    if isinstance(segments, dict) and segments and not set(_VECTORS) & set(segments):
        columns = {name: column for name, column in value.items() if isinstance(column, dict)}
        return [
            (key, {name: column[key] for name, column in columns.items() if column.get(key) is not None})
            for key in segments
        ]
    if isinstance(segments, list) and segments and all(isinstance(_unpacked(row), list | dict) for row in segments):
        if not all(_is_segments(row) or _is_columns(row) for row in segments):
            return None
        columns_of = {
            name: column for name, column in value.items() if isinstance(column, list) and len(column) == len(segments)
        }
        return [(index, {name: column[index] for name, column in columns_of.items()}) for index in range(len(segments))]
    return None


def _is_split(value: dict[str, Any]) -> bool:
    """Whether it is a table as pandas writes it with ``orient="split"``."""
    names, rows = value.get("columns"), value.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not all(isinstance(name, str) for name in names):
        return False
    return all(isinstance(row, list) and len(row) == len(names) for row in rows)


def _split_rows(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of such a table; an index of texts names the tracks."""
    rows, index = value["data"], value.get("index")
    ids = index if isinstance(index, list) and len(index) == len(rows) else repeat(None)
    for track_id, row in zip(ids, rows, strict=False):
        named = {"track_id": track_id} if isinstance(track_id, str) else {}
        yield {**named, **dict(zip(value["columns"], row, strict=True))}


def _is_segments(value: Any) -> bool:
    """Whether a value is a list of segments, rather than one of analyses that are kept as columns."""
    value = _unpacked(value)
    if not isinstance(value, list) or not value or _is_columns(value[0]):
        return False
    return all(isinstance(item, dict) and "timbre" in item for item in value)


def _is_columns(value: Any) -> bool:
    """Whether a value is the columns of a list of segments, rather than one segment."""
    value = _unpacked(value)
    return isinstance(value, dict) and all(_is_matrix(value.get(name)) for name in _VECTORS)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) and len(row) > 1 for row in value)


def _segments(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The segments that an object holds itself, in a list or as columns; None where it holds none."""
    segments = _unpacked(value.get("segments"))
    if isinstance(segments, list) and segments and all(isinstance(item, dict) for item in segments):
        return [_segment(item) for item in segments]
    for columns in (segments, _columns_of(value)):
        if isinstance(columns, dict) and all(_is_matrix(_unpacked(columns.get(name))) for name in _VECTORS):
            return _from_columns({name: _unpacked(columns.get(name)) for name in _SEGMENT_FIELDS})
    return None


def _vector(values: list[Any]) -> list[Any]:
    # A track has thousands: of plain numbers nothing is made anew.
    return values if {float, int}.issuperset(map(type, values)) else [_scalar(item) for item in values]


def _columns_of(value: dict[str, Any]) -> dict[str, Any]:
    """The columns of a track's segments among what else an object holds, as tables of many tracks name them."""
    return {
        name: next((value[each] for each in (name, f"segments_{name}", f"{name}s") if each in value), None)
        for name in _SEGMENT_FIELDS
    }


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
            plain[name] = _vector(value) if is_vector else _scalar(value)
    return plain


def _status(value: dict[str, Any]) -> Any:
    """What is said of the track's status; a number beside the analysis is one of the request's."""
    own = _scalar(value.get("status"))
    return _scalar(_object(value.get("track")).get("status")) or (own if isinstance(own, str) else None)


def _facts(value: dict[str, Any], analyses: Collection[str]) -> dict[str, Any]:
    """What an object says of its track, itself or in other objects in it but those in which analyses were found."""
    facts: dict[str, Any] = {}
    for members, of_track in _parts(value, analyses, _FACT_LEVELS):
        part = _by_name(members)
        unclear = () if of_track else _AMBIGUOUS
        for fact, names in _NAMES.items():
            found = next((text for name in names if name not in unclear and (text := _text(part.get(name)))), "")
            if found:
                facts.setdefault(fact, found)
        if genres := next((genres for name in _GENRES if (genres := _texts(part.get(name)))), []):
            facts.setdefault("genres", genres)
        artist = _first(part.get("artists")) or _object(part.get("artist"))
        if artist_id := _text(artist.get("id")):
            facts.setdefault("artist_id", artist_id)
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


def _by_name(members: dict[str, Any]) -> dict[str, Any]:
    """The members of an object by their names, and by these without case and underscores, as of ``trackName``."""
    return {**{_word(key): member for key, member in members.items()}, **members}


def _parts(value: dict[str, Any], left_out: Collection[str], levels: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """An object and those in it, and whether each is one of the track; those that surely are come first."""
    yield value, True
    below = [
        (_word(key), _lenient(_unpacked(part)))
        for key, part in value.items()
        if key not in left_out and key not in LONG_LISTS
    ]
    for word, part in sorted(below, key=lambda each: each[0] not in _OF_TRACK):
        if isinstance(part, dict) and levels and word not in _OF_OTHERS:
            for inner, of_track in _parts(part, (), levels - 1):
                yield inner, of_track and word in _OF_TRACK


def _word(key: str) -> str:
    return re.sub(r"[\W_]+", "", key).casefold()


def _texts(value: Any) -> list[str]:
    """Facts as texts: of a list all of them."""
    value = _scalar(_unpacked(value))
    return [text for item in (value if isinstance(value, list) else [value]) if (text := _text(item))]


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
