"""Tracks from files and folders, in every form that the pipeline reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

from deepmusic_genre.tracks import registry
from deepmusic_genre.tracks.source import endings
from deepmusic_genre.tracks.track import Rejection, Track
from deepmusic_genre.tracks.walk import list_local


def read_tracks(
    paths: Iterable[str], known: Container[str] = (), pretrained: bool | Callable[[], bool] = False
) -> Iterator[tuple[str, Track | Rejection]]:
    """Reads files, and whatever a source reads below folders; a folder's own files come before those of its folders.

    Args:
        paths: Files and folders.
        known: Files that are passed over.
        pretrained: Whether the pretrained network hears sound files, as :meth:`deepmusic_genre.Client.listens` tells
            for a served model; a function is asked once, at the first file that may hold sound.

    Yields:
        The file, and a track (its id falls back on the file's name) or why there is none.
    """
    heard = cache(pretrained if callable(pretrained) else partial(bool, pretrained))
    for path in paths:
        for file in _files(path):
            if isinstance(file, Rejection):
                yield file.path, file
            elif file not in known:
                yield from ((file, item) for item in _read(file, heard))


def count_files(paths: Iterable[str]) -> int:
    """How many files :func:`read_tracks` will read."""
    return sum(isinstance(file, str) for path in paths for file in _files(path))


def _files(path: str) -> Iterator[str | Rejection]:
    if not _is_folder(path):
        yield path
        return
    listing = list_local(path)
    yield from listing.files
    yield from listing.rejections
    if not listing.files and not listing.rejections:
        found = listing.of_other_kinds() or "it is empty"
        yield Rejection(path, f"no file below it ends in {endings(registry.SOURCES)} ({found})")


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:
        return False  # Why, is told where it is opened.


def _read(file: str, pretrained: Callable[[], bool]) -> Iterator[Track | Rejection]:
    # A name on the disk may be any bytes; an id is text.
    name = os.fsencode(file).decode(errors="replace")
    try:
        with Path(file).open("rb") as stream:
            yield from registry.read(name, stream, pretrained=registry.may_hold_sound(name) and pretrained())
    except OSError as error:
        yield Rejection(file, f"cannot be read: {error.strerror}")
