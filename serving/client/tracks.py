"""Tracks from files and folders, in every form that the pipeline reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sources.registry import SOURCES, source_for, stem
from sources.track import Rejection, Track


def read_tracks(paths: Iterable[str]) -> Iterator[tuple[str, Track | Rejection]]:
    """Reads files, and whatever a source reads below folders.

    Yields:
        The file, and a track (its id falls back on the file's name) or why there is none.
    """
    for path in paths:
        for file in _files(path):
            yield from ((file, item) for item in _read(file))


def _files(path: str) -> Iterator[str]:
    if Path(path).is_dir():
        yield from (str(file) for file in sorted(Path(path).rglob("*")) if source_for(file.name) and file.is_file())
    else:
        yield path


def _read(file: str) -> Iterator[Track | Rejection]:
    source = source_for(file)
    if source is None:
        endings = ", ".join(suffix for each in SOURCES for suffix in each.suffixes)
        yield Rejection(file, f"its name does not end in {endings}")
        return
    try:
        with Path(file).open("rb") as stream:
            for item in source.read(file, stream):
                nameless = isinstance(item, Track) and not item.track_id
                yield replace(item, track_id=stem(file)) if nameless else item
    except OSError as error:
        yield Rejection(file, f"cannot be read: {error.strerror}")
