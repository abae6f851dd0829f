"""The interface behind which every form of audio analysis is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from sources.track import Rejection, Track

MAX_ANALYSIS_BYTES = 256 * 1024 * 1024
"""Largest analysis of one track, decompressed: a real one has about 0.3 MB."""


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
