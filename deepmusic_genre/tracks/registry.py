"""The sources there are. A new one is a class behind :class:`deepmusic_genre.tracks.source.Source`, named here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from deepmusic_genre.tracks.archives import TarArchive, ZipArchive
from deepmusic_genre.tracks.audio import AudioFile
from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.json_lines import JsonLines
from deepmusic_genre.tracks.million_song import MillionSongH5
from deepmusic_genre.tracks.numpy_arrays import NumpyArrays
from deepmusic_genre.tracks.parquet_table import ParquetTable
from deepmusic_genre.tracks.source import Source, read_file, source_among
from deepmusic_genre.tracks.track import Rejection, Track


def sources(middle: float | None = None, pretrained: bool = False, *, tags_only: bool = False) -> tuple[Source, ...]:
    """Every source; see :class:`~deepmusic_genre.tracks.audio.AudioFile` for the arguments."""
    files: tuple[Source, ...] = (
        AudioAnalysisJson(),
        JsonLines(),
        ParquetTable(),
        MillionSongH5(),
        NumpyArrays(),
        AudioFile(middle, pretrained, tags_only=tags_only),
    )
    return (*files, TarArchive(files), ZipArchive(files))


SOURCES = sources()


def source_for(path: str) -> Source | None:
    """The source that reads files with this path's ending, None where there is none."""
    return source_among(path, SOURCES)


def may_hold_sound(path: str) -> bool:
    """Whether a file is sound, or an archive, in which there may be some."""
    return path.lower().endswith((*AudioFile.suffixes, *TarArchive.suffixes, *ZipArchive.suffixes))


def read(
    path: str, stream: BinaryIO, middle: float | None = None, pretrained: bool = False
) -> Iterator[Track | Rejection]:
    """The tracks of a file in any form.

    See :func:`sources` for ``middle`` and ``pretrained``, and :func:`deepmusic_genre.tracks.source.read_file`.
    """
    return read_file(path, stream, SOURCES if middle is None and not pretrained else sources(middle, pretrained))
