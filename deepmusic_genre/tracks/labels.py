"""Genres and metadata of tracks, from a labels file or from the folder that a track lies in."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from deepmusic_genre.tracks.label_names import Fit, NameIndex, name_form
from deepmusic_genre.tracks.label_table import InvalidLabels, LabelField, decode, table_rows
from deepmusic_genre.tracks.track import InvalidTrack, Track

_NOTHING = {"", "na", "nan", "nat", "none", "null"}


class OtherGenre(InvalidTrack):
    """A genre that is not in the genre list: nothing is wrong with the track."""

    def __init__(self, name: str, genres: Iterable[str]) -> None:
        super().__init__(f"genre {name!r} is not in the genre list ({', '.join(genres)})")
        self.name = name


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
    """Maps the ways a genre is written (``hip_hop``, ``HIPHOP``, ``Hip-Hop``) onto the configured list."""

    def __init__(self, genres: Iterable[str], other: str | None = None) -> None:
        """Takes the list, and the genre in it that gathers what labels name outside it; None gathers nothing."""
        self._other = other
        self._by_key = {genre_key(genre): genre for genre in genres}

    def canonical(self, name: str) -> str | None:
        """The configured spelling of ``name``, None for a genre that is not in the list."""
        return self._by_key.get(genre_key(name))

    def in_cell(self, cell: str) -> list[str]:
        """The genres that a cell names: the whole of it, or those between semicolons, bars or else commas.

        Raises:
            InvalidTrack: if one is not in the list.
        """
        if self.is_nothing(cell):
            return []
        if self.canonical(cell) is None:
            for separators in (r"[;|]", ","):
                names = [name for name in re.split(separators, cell) if name.strip()]
                if len(names) > 1:
                    return [genre for name in names for genre in self.in_cell(name.strip())]
        return [self.require(cell)]

    def is_nothing(self, name: str) -> bool:
        """Whether a text stands where there is no genre, as R and pandas write ``NA`` and ``nan``."""
        return self.canonical(name) is None and genre_key(name) in _NOTHING

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
            raise OtherGenre(name, self._by_key.values())
        return genre


def genre_key(name: str) -> str:
    """What the spellings of a genre have in common."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


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
        OtherGenre: if a genre is not in the genre list.
    """
    label = label or Label(track.genre, other_genres=track.other_genres)
    cells = [cell for cell in (label.genre, *label.other_genres) if cell]
    genre, *others = [genre for cell in cells for genre in genres.in_cell(cell)] or [""]
    return replace(
        track,
        genre=genre,
        other_genres=tuple(others),
        artist_id=label.artist_id or track.artist_id,
        artist=label.artist or track.artist,
        title=label.title or track.title,
    )


def label_of(track: Track, labels: Labels | None, genres: GenreNames) -> Label | None:
    """The label of a track: its row in the labels file, else the genre of its folder if there is no such file.

    None leaves a track the genre that its own file names: that goes before the folder's.
    """
    if labels is not None:
        return find_label(labels, track.track_id, track.path)
    folder = genres.of_folder(track.path) if genres.is_nothing(track.genre) else None
    return Label(folder) if folder else None


def find_label(labels: Labels, track_id: str, path: str) -> Label | None:
    """What a labels file says of a track, None if no row fits it, or several that contradict one another."""
    fit = next(labels.fits(track_id, path), None)
    return labels.agreed(fit) if fit else None
