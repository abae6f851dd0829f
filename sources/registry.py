"""The sources there are. A new one is a class behind :class:`sources.source.Source`, named here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from sources.audio_analysis import AudioAnalysisJson
from sources.million_song import MillionSongH5
from sources.source import Source
from sources.track import Rejection, Track

SOURCES: tuple[Source, ...] = (AudioAnalysisJson(), MillionSongH5())


def source_for(path: str) -> Source | None:
    """The source that reads files with this path's ending, None where there is none."""
    lowered = path.lower()
    return next((source for source in SOURCES if lowered.endswith(source.suffixes)), None)


def read(path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
    """Reads a file through the source that its name calls for.

    Yields:
        What :meth:`sources.source.Source.read` does; a track's id falls back on the file's name.
    """
    source = source_for(path)
    if source is None:
        endings = ", ".join(suffix for each in SOURCES for suffix in each.suffixes)
        yield Rejection(path, f"its name does not end in {endings}")
        return
    for item in source.read(path, stream):
        nameless = isinstance(item, Track) and not item.track_id
        yield replace(item, track_id=stem(path)) if nameless else item


def stem(path: str) -> str:
    """A file's name without its folder and the ending that a source reads."""
    name, source = PurePosixPath(path).name, source_for(path)
    endings = [suffix for suffix in source.suffixes if name.lower().endswith(suffix)] if source else []
    return name[: -len(max(endings, key=len))] if endings else name
