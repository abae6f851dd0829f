"""Genres and metadata of tracks, from a labels file or from the folder that a track lies in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from deepmusic_genre.tracks.genre_table import genre_key, is_known, meanings, says_nothing
from deepmusic_genre.tracks.label_names import Fit, NameIndex, name_form
from deepmusic_genre.tracks.label_table import InvalidLabels, LabelField, decode, table_rows
from deepmusic_genre.tracks.track import InvalidTrack, Track

_LONGEST_NAME = 60


class OtherGenre(InvalidTrack):
    """A genre that is not in the genre list: nothing is wrong with the track.

    Attributes:
        name: On one line, and no longer than a message can show.
    """

    def __init__(self, name: str, genres: Iterable[str]) -> None:
        self.name = shown_name(name)
        super().__init__(f"genre {self.name!r} is not in the genre list ({', '.join(genres)})")


def shown_name(name: str) -> str:
    """A genre's name as it can be shown, whatever a file has in its place."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in name[: 4 * _LONGEST_NAME]).split())
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


@dataclass(frozen=True)
class Label:
    """What a labels file says of a track; every field but the genre may be empty.

    Attributes:
        other_genres: what further rows or columns call it, in order, an equal one each time that it is named.
    """

    genre: str
    track_id: str = ""
    artist_id: str = ""
    artist: str = ""
    title: str = ""
    other_genres: tuple[str, ...] = ()


class Labels(dict[str, Label]):
    """The labels by track id or file, in the form of :func:`deepmusic_genre.tracks.label_names.name_form`."""

    def __init__(self, labels: Mapping[str, Label], lines: Mapping[str, Sequence[int]] | None = None) -> None:
        """Takes also the lines of the labels file that name each track."""
        super().__init__(labels)
        self.lines = lines or {}

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self)

    def fits(self, track_id: str, path: str) -> Iterator[Fit]:
        """The rows that fit a track, the best first; a row may come again further down."""
        return self._index.fits(track_id, path)

    def agreed(self, fit: Fit) -> Label | None:
        """What all those rows say, None if they contradict one another."""
        name, *others = fit.names
        return self[name] if all(replace(self[other], track_id=name) == self[name] for other in others) else None


class GenreNames:
    """Maps the ways a genre is written (``hip_hop``, ``HIPHOP``, ``Rap``) onto the configured list.

    A name means a genre if it is that genre's, else if the settings say so, else by
    :mod:`deepmusic_genre.tracks.genre_table`.
    """

    def __init__(
        self, genres: Iterable[str], other: str | None = None, names: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Makes the map.

        Args:
            genres: The list.
            other: The genre in it that gathers what labels name outside it; None gathers nothing.
            names: Further names of genres in the list.
        """
        self._other = other
        self._genres = list(genres)
        self._listed = {genre_key(name): genre for genre, own in (names or {}).items() for name in own}
        self._listed |= {genre_key(genre): genre for genre in self._genres}
        self._by_meaning: dict[str, str] = {}
        for name in (*self._genres, *self._listed):
            if not says_nothing(key := genre_key(name)):
                self._by_meaning.setdefault(next(meanings(key)), self._listed[key])

    def canonical(self, name: str) -> str | None:
        """The configured spelling of what ``name`` means, None for a genre that is not in the list."""
        key = genre_key(name)
        found = (self._listed.get(key), *map(self._by_meaning.get, meanings(key)))
        return next(filter(None, found), None)

    def names_in(self, cell: str) -> list[str]:
        """The names of genres in a cell; what says nothing, as ``Unknown``, is none.

        They are the whole cell if the list or the settings have that, else those between semicolons, bars, NULs or
        else commas. Only names of which the table knows one are split at slashes, and none that it knows as a whole.
        """
        if genre_key(cell) in self._listed:
            return [cell.strip()]
        for separators in (r"[;|\0]", ","):
            if len(parts := _parts(separators, cell)) > 1:
                return [name for part in parts for name in self.names_in(part)]
        parts = _parts("/", cell)
        if not is_known(genre_key(cell)) and any(map(self._is_name, parts)):
            return [part for part in parts if self._is_name(part) or not says_nothing(genre_key(part))]
        return [] if says_nothing(genre_key(cell)) else [cell.strip()]

    def _is_name(self, name: str) -> bool:
        key = genre_key(name)
        return key in self._listed or (is_known(key) and not says_nothing(key))

    def in_cells(self, cells: Iterable[str]) -> list[str]:
        """The genres that cells name, see :meth:`names_in`: those of the list, or if there are none, what gathers them.

        Raises:
            OtherGenre: if no name is in the list, and none gathers them.
        """
        names = [name for cell in cells for name in self.names_in(cell)]
        listed = list(filter(None, map(self.canonical, names)))
        return listed or [self.require(name) for name in names]

    def known_in(self, cells: Iterable[str]) -> list[str]:
        """The genres of the list that cells name, each once."""
        names = (name for cell in cells for name in self.names_in(cell))
        return [*dict.fromkeys(filter(None, map(self.canonical, names)))]

    def of_folder(self, path: str) -> str | None:
        """The genre of the nearest folder above ``path`` that is named after one, None where there is none."""
        parents = (parent.name for parent in PurePosixPath(path).parents)
        return next((genre for genre in map(self.canonical, parents) if genre), None)

    def require(self, name: str) -> str:
        """The configured spelling of ``name``, or the genre that gathers the others.

        Raises:
            OtherGenre: if the genre is not in the list, and none gathers it.
        """
        genre = self.canonical(name) or (self._other if genre_key(name) else None)
        if genre is None:
            raise OtherGenre(name, self._genres)
        return genre


def _parts(separators: str, cell: str) -> list[str]:
    return [part.strip() for part in re.split(separators, cell) if part.strip()]


def read_labels(content: bytes, name: str, columns: Mapping[LabelField, str] | None = None) -> Labels:
    """Reads a labels file: CSV, or where the name ends in ``.cls`` the form of tagtraum's genre annotations.

    CSV has a header, see :func:`deepmusic_genre.tracks.label_table.table_rows`; a genre and a track id or a file are
    needed. A file is a path as far as it takes to tell it from others, for example below the data folder. A line of a
    ``.cls`` file is a track id and one or more genres, with tabs between them, or a comment after ``#`` (Schreiber:
    Improving genre annotations for the Million Song Dataset, ISMIR 2015).

    Args:
        content: the file's bytes, see :func:`deepmusic_genre.tracks.label_table.decode`.
        name: what messages call the file.
        columns: the names of a CSV's columns where they are not the usual ones.

    Returns:
        The labels by track id or file. A track that several rows name has all their genres.

    Raises:
        InvalidLabels: a needed column is missing, two rows of one track differ in more than the genre, or it is no
            such text.
    """
    text = decode(content, name)
    if name.lower().endswith(".cls"):
        rows = _cls_rows(text, name)
    else:
        rows = ((line, _label(values)) for line, values in table_rows(text, name, columns or {}))
    labels: dict[str, Label] = {}
    lines: dict[str, list[int]] = defaultdict(list)
    for line, written in rows:
        label = replace(written, track_id=name_form(written.track_id))
        if not label.track_id:
            raise InvalidLabels(f"{name}, line {line}: the track_id is empty")
        known = labels.get(label.track_id)
        labels[label.track_id] = label if known is None else _joined(known, label, f"{name}, line {line}")
        lines[label.track_id].append(line)
    return Labels(labels, lines)


def _label(row: Mapping[str, str]) -> Label:
    artist_id, artist, title = (row.get(field, "") for field in ("artist_id", "artist", "title"))
    return Label(row["genre"], row["track_id"], artist_id, artist, title)


def _cls_rows(text: str, name: str) -> Iterator[tuple[int, Label]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        track_id, *named = map(str.strip, line.split("\t"))
        if not any(named):
            raise InvalidLabels(f"{name}, line {number}: there is no tab and genre after the track id")
        genre, *others = filter(None, named)
        yield number, Label(genre, track_id, other_genres=tuple(others))


def _joined(known: Label, label: Label, place: str) -> Label:
    genres = [genre for each in (known, label) for genre in (each.genre, *each.other_genres) if genre] or [""]
    joined = replace(known, genre=genres[0], other_genres=tuple(genres[1:]))
    if replace(label, genre=joined.genre, other_genres=joined.other_genres) != joined:
        raise InvalidLabels(f"{place}: track {label.track_id} is labelled twice, with another artist or title")
    return joined


def apply_label(track: Track, label: Label | None, genres: GenreNames) -> Track:
    """The track with its label's genre, and with the label's metadata where the label has them.

    Args:
        track: with the genre that its own file names, if it names one.
        label: replaces that genre, even by none; None leaves it.
        genres: the genre list.

    Raises:
        OtherGenre: if genres are named, but none of the genre list.
    """
    genre, *others = genres.in_cells(cells_of(track, label)) or [""]
    label = label or Label("")
    return replace(
        track,
        genre=genre,
        other_genres=tuple(others),
        artist_id=label.artist_id or track.artist_id,
        artist=label.artist or track.artist,
        album_artist="" if label.artist or label.artist_id else track.album_artist,
        title=label.title or track.title,
    )


def cells_of(track: Track, label: Label | None) -> tuple[str, ...]:
    """The cells that name a track's genre, as they are written: its label's, or where that is None, its own file's."""
    named = label or track
    return tuple(filter(None, (named.genre, *named.other_genres)))


def label_of(track: Track, labels: Labels | None, genres: GenreNames) -> Label | None:
    """The label of a track: its row in the labels file, else the genre of its folder if there is no such file.

    None leaves a track the genre that its own file names: one of the list goes before the folder's.
    """
    if labels is not None:
        return find_label(labels, track.track_id, track.path)
    folder = None if genres.known_in(cells_of(track, None)) else genres.of_folder(track.path)
    return Label(folder) if folder else None


def contradictions(track: Track, label: Label | None, genres: GenreNames) -> tuple[str, ...]:
    """Where two of labels file, file and folder name different genres.

    What is not in the list counts where it is the folder that overrules it.

    Args:
        track: as its file has it.
        label: its row in the labels file, if it has one.
        genres: the genre list.

    Returns:
        For each that is overruled, who contradicts whom, a colon, and what they say.
    """
    row = label if label and label.track_id else None
    own = cells_of(track, None)
    said = [
        ("labels file", genres.known_in(cells_of(track, row)) if row else []),
        ("file", genres.known_in(own)),
        ("folder", list(filter(None, [genres.of_folder(track.path)]))),
    ]
    if not row and not said[1][1]:
        said.append(("file", [shown_name(name) for cell in own for name in genres.names_in(cell)]))
    (first, counts), *others = [item for item in said if item[1]] or [("", [])]
    return tuple(
        f"{first} and {other}: {', '.join(counts)}; {', '.join(names)}"
        for other, names in others
        if not set(counts) & set(names)
    )


def find_label(labels: Labels, track_id: str, path: str) -> Label | None:
    """What a labels file says of a track, None if no row fits it, or several that contradict one another."""
    fit = next(labels.fits(track_id, path), None)
    return labels.agreed(fit) if fit else None
