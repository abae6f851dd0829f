"""Genres and metadata of tracks, from a labels file or from the folder that a track lies in."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from sources.track import InvalidTrack, Track


class InvalidLabels(ValueError):
    """A labels file that cannot be used; its message is shown to the user."""


@dataclass(frozen=True)
class Label:
    """One row of a labels file; every field but the genre may be empty."""

    genre: str
    track_id: str = ""
    artist_id: str = ""
    artist: str = ""
    title: str = ""


class GenreNames:
    """Maps the ways a genre is written (``hip_hop``, ``HIPHOP``, ``Hip-Hop``) onto the configured list."""

    def __init__(self, genres: Iterable[str]) -> None:
        self._by_key = {genre_key(genre): genre for genre in genres}

    def canonical(self, name: str) -> str | None:
        """The configured spelling of ``name``, None for a genre that is not in the list."""
        return self._by_key.get(genre_key(name))

    def of_folder(self, path: str) -> str | None:
        """The genre of the nearest folder above ``path`` that is named after one, None where there is none."""
        parents = (parent.name for parent in PurePosixPath(path).parents)
        return next((genre for genre in map(self.canonical, parents) if genre), None)

    def require(self, name: str) -> str:
        """The configured spelling of ``name``.

        Raises:
            InvalidTrack: if the genre is not in the list.
        """
        genre = self.canonical(name)
        if genre is None:
            raise InvalidTrack(f"genre {name!r} is not in the genre list ({', '.join(self._by_key.values())})")
        return genre


def genre_key(name: str) -> str:
    """What the spellings of a genre have in common."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def read_labels(content: bytes, name: str) -> dict[str, Label]:
    """Reads a labels file: CSV with a header; ``track_id`` and ``genre`` needed, ``artist_id,artist,title`` read.

    Args:
        content: the file's bytes, UTF-8 with or without a byte-order mark.
        name: what messages call the file.

    Returns:
        The rows by track id. A row repeated to the letter counts once.

    Raises:
        InvalidLabels: a needed column is missing, two rows of one track differ, or it is not CSV text.
    """
    if b"\0" in content:
        raise InvalidLabels(f"{name} is not a CSV text in UTF-8: it holds a zero byte")
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        missing = {"track_id", "genre"} - set(reader.fieldnames or ())
        if missing:
            raise InvalidLabels(
                f"{name} has no column {' and '.join(sorted(missing))}; it has {', '.join(reader.fieldnames or ())}"
            )
        names = list(reader.fieldnames or ())
        if len(set(names)) < len(names):
            raise InvalidLabels(f"{name} has a column twice: {', '.join(names)}")
        labels: dict[str, Label] = {}
        for row in reader:
            label = Label(**{field: (row.get(field) or "").strip() for field in Label.__dataclass_fields__})
            if None in row:
                raise InvalidLabels(f"{name}, line {reader.line_num}: there are more values than columns")
            if not label.track_id:
                raise InvalidLabels(f"{name}, line {reader.line_num}: the track_id is empty")
            if labels.setdefault(label.track_id, label) != label:
                raise InvalidLabels(f"{name}, line {reader.line_num}: track {label.track_id} is labelled twice")
        return labels
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidLabels(f"{name} is not a CSV text in UTF-8: {error}") from error


def apply_label(track: Track, label: Label | None, genres: GenreNames) -> Track:
    """The track with its label's genre, and with the label's metadata where the label has them.

    Raises:
        InvalidTrack: if the genre is not in the genre list.
    """
    if label is None:
        return track
    return replace(
        track,
        genre=genres.require(label.genre) if label.genre else "",
        artist_id=label.artist_id or track.artist_id,
        artist=label.artist or track.artist,
        title=label.title or track.title,
    )


def label_of(path: str, track_id: str, labels: Mapping[str, Label] | None, genres: GenreNames) -> Label | None:
    """The label of a track: its row where there is a labels file, else the genre of its folder."""
    if labels is not None:
        return labels.get(track_id)
    genre = genres.of_folder(path)
    return Label(genre) if genre else None
