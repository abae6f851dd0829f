"""The interface behind which every form of audio analysis is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from sources.track import InvalidTrack, Rejection, Track

MAX_ANALYSIS_BYTES = 256 * 1024 * 1024
"""Largest file that is read into memory, decompressed: a real analysis has about 0.3 MB."""


def read_bounded(stream: BinaryIO) -> bytes:
    """All of a stream.

    Raises:
        InvalidTrack: it is longer than :data:`MAX_ANALYSIS_BYTES`.
    """
    content = stream.read(MAX_ANALYSIS_BYTES + 1)
    if len(content) > MAX_ANALYSIS_BYTES:
        raise InvalidTrack(f"larger than {MAX_ANALYSIS_BYTES >> 20} MiB")
    return content


class Source(Protocol):
    """One form of audio analysis."""

    @property
    def name(self) -> str:
        """What a track's ``source`` says."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files it reads, in lower case."""

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Reads the tracks of one file.

        Args:
            path: the file's path, for messages and for what its name says.
            stream: the file's bytes.

        Yields:
            Each track, or a rejection in its place. A fault of the file's content is never raised.
        """
