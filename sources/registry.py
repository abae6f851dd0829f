"""The sources there are. A new one is a class behind :class:`sources.source.Source`, named here."""

from __future__ import annotations

from pathlib import PurePosixPath

from sources.audio_analysis import AudioAnalysisJson
from sources.million_song import MillionSongH5
from sources.source import Source

SOURCES: tuple[Source, ...] = (AudioAnalysisJson(), MillionSongH5())


def source_for(path: str) -> Source | None:
    """The source that reads files with this path's ending, None where there is none."""
    lowered = path.lower()
    return next((source for source in SOURCES if lowered.endswith(source.suffixes)), None)


def stem(path: str) -> str:
    """A file's name without its folder and the ending that a source reads."""
    name, source = PurePosixPath(path).name, source_for(path)
    endings = [suffix for suffix in source.suffixes if name.lower().endswith(suffix)] if source else []
    return name[: -len(max(endings, key=len))] if endings else name
