"""The sources there are. A new one is a class behind :class:`sources.source.Source`, named here."""

from __future__ import annotations

from sources.audio_analysis import AudioAnalysisJson
from sources.million_song import MillionSongH5
from sources.source import Source

SOURCES: tuple[Source, ...] = (AudioAnalysisJson(), MillionSongH5())


def source_for(path: str) -> Source | None:
    """The source that reads files with this path's ending, None where there is none."""
    lowered = path.lower()
    return next((source for source in SOURCES if lowered.endswith(source.suffixes)), None)
