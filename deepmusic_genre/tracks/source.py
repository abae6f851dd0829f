"""The interface behind which every form of audio analysis is read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track

MAX_ANALYSIS_BYTES = 256 * 1024 * 1024
"""Largest analysis that is read into memory, decompressed: a real one has about 0.3 MB."""

_USUAL_BYTES = 1 << 20


def require_bounded(size: int) -> None:
    """Raises InvalidTrack if so many bytes are more than :data:`MAX_ANALYSIS_BYTES`."""
    if size > MAX_ANALYSIS_BYTES:
        raise InvalidTrack(f"larger than {MAX_ANALYSIS_BYTES >> 20} MiB")


def read_bounded(stream: BinaryIO) -> bytes:
    """All of a stream.

    Raises:
        InvalidTrack: it is longer than :data:`MAX_ANALYSIS_BYTES`.
    """
    # Memory for the largest one would be new for every file, which costs more than the copy of a large one.
    content = stream.read(_USUAL_BYTES)
    if len(content) == _USUAL_BYTES:
        content += stream.read(MAX_ANALYSIS_BYTES + 1 - _USUAL_BYTES)
    require_bounded(len(content))
    return content


def seekable(stream: BinaryIO) -> BinaryIO:
    """A file of the local disk as it is, of any size; what anything else holds, in memory.

    Raises:
        InvalidTrack: it is not on the local disk, and longer than :data:`MAX_ANALYSIS_BYTES`.
    """
    is_local = isinstance(getattr(stream, "raw", stream), io.FileIO)
    return stream if is_local else io.BytesIO(read_bounded(stream))


class Source(Protocol):
    """One form of audio analysis."""

    @property
    def name(self) -> str:
        """What it is called, and what the ``source`` of tracks says that it makes itself."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files it reads, in lower case."""

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Reads the tracks of one file.

        Args:
            path: the file's path, for messages and for what its name says.
            stream: the file's bytes. It may not seek.

        Yields:
            Each track, or a rejection in its place. A fault of the file's content is never raised. A track whose file
            holds many says in ``path`` where it stands; one that names no id is called after the file.
        """


def source_among(path: str, sources: Sequence[Source]) -> Source | None:
    """The source that reads files with this path's ending, None where there is none."""
    lowered = path.lower()
    return next((source for source in sources if lowered.endswith(source.suffixes)), None)


def read_file(path: str, stream: BinaryIO, sources: Sequence[Source]) -> Iterator[Track | Rejection]:
    """Reads a file through the source that its name calls for.

    Yields:
        What :meth:`Source.read` does; every track has an id and a path.
    """
    source = source_among(path, sources)
    if source is None:
        yield Rejection(path, f"its name does not end in {endings(sources)}")
        return
    for item in source.read(path, stream):
        yield _located(item, path, source) if isinstance(item, Track) else item


def endings(sources: Sequence[Source]) -> str:
    """What the names of files that are read end in, for messages."""
    return ", ".join(suffix for source in sources for suffix in source.suffixes)


def _located(track: Track, path: str, source: Source) -> Track:
    return replace(track, track_id=track.track_id or _stem(path, source), path=track.path or path)


def _stem(path: str, source: Source) -> str:
    name = PurePosixPath(path).name
    return name[: -max(len(suffix) for suffix in source.suffixes if name.lower().endswith(suffix))]
