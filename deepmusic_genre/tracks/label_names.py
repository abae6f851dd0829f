"""How labels files name tracks, by id or by file, and which track it is that such a name means."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from deepmusic_genre.tracks.registry import SOURCES

_SPOTIFY = re.compile(r"(?:spotify:track:|(?:https?://)?open\.spotify\.com/(?:[\w-]+/)*track/)(\w+)(?:[/?#].*)?")
_ABSOLUTE = re.compile(r"/|~|[A-Za-z]:/|\w+://")
_ENDINGS = sorted((ending for source in SOURCES for ending in source.suffixes), key=len, reverse=True)


class Rank(NamedTuple):
    """How well a name fits a track; the larger one fits better.

    Attributes:
        way: the id is equal (4), the path ends like it (3), but for the file's ending (2), or it is the same number but
            for leading zeros (1).
        parts: of a path, how many of its last parts are equal.
    """

    way: int
    parts: int = 0


BY_ID = Rank(4)


class Fit(NamedTuple):
    """The names that fit a track equally well, and how well."""

    names: tuple[str, ...]
    rank: Rank


def name_form(name: str) -> str:
    """The one form of an id or path: composed letters (Unicode NFC), slashes, a Spotify address as its id."""
    form = unicodedata.normalize("NFC", name).strip()
    if spotify := _SPOTIFY.fullmatch(form):
        return spotify[1]
    return re.sub(r"^(?:\./+)+", "", form.replace("\\", "/").removeprefix("file://"))


class NameIndex:
    """Finds the names that may mean a track."""

    def __init__(self, names: Iterable[str]) -> None:
        """Takes names in the form of :func:`name_form`, each once.

        The root of an absolute path may be another machine's: what comes below the folder that is common to all those
        which begin alike has to fit.
        """
        names = list(names)
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._bare: dict[str, list[str]] = defaultdict(list)
        self._numbers: dict[str, list[str]] = defaultdict(list)
        roots = _roots(name for name in names if _ABSOLUTE.match(name))
        for name in names:
            parts = _parts(name)
            for key in _ends(parts)[: roots[parts[0]] + 1] if _ABSOLUTE.match(name) and parts else [name]:
                self._exact[key].append(name)
                self._bare[_without_ending(key)].append(name)
            if name.isdecimal():
                self._numbers[name.lstrip("0")].append(name)

    def fits(self, track_id: str, path: str) -> Iterator[Fit]:
        """The names that fit a track, the best first; a name may come again further down."""
        for table, key, rank in self._looked_up(name_form(track_id), name_form(path)):
            if names := table.get(key):
                yield Fit(tuple(names), rank)

    def _looked_up(self, track_id: str, path: str) -> Iterator[tuple[dict[str, list[str]], str, Rank]]:
        parts = _parts(path)
        yield self._exact, track_id, BY_ID
        for key in _ends(parts):
            yield self._exact, key, Rank(3, key.count("/") + 1)
        for key in _ends(parts):
            yield self._bare, _without_ending(key), Rank(2, key.count("/") + 1)
        for number in (track_id, _without_ending(parts[-1] if parts else "")):
            if number.isdecimal():
                yield self._numbers, number.lstrip("0"), Rank(1)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _ends(parts: list[str]) -> list[str]:
    """The ends of a path, the longest first."""
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _roots(paths: Iterable[str]) -> dict[str, int]:
    """By the first part of absolute paths, as ``home`` or ``C:``, how many folders those with it have in common."""
    alike: dict[str, list[list[str]]] = defaultdict(list)
    for parts in filter(None, map(_parts, paths)):
        alike[parts[0]].append(parts)
    return {first: _common_folders(those) for first, those in alike.items()}


def _common_folders(paths: list[list[str]]) -> int:
    folders = [path[:-1] for path in paths]
    first, last = min(folders, default=[]), max(folders, default=[])
    equal = [one == other for one, other in zip(first, last, strict=False)]
    return equal.index(False) if False in equal else len(equal)


def _without_ending(path: str) -> str:
    name = path.casefold()
    return next((path[: -len(ending)] for ending in _ENDINGS if name.endswith(ending)), path)
