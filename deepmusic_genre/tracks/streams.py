"""Files as streams of bytes, decompressed where they are compressed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from typing import Any, BinaryIO

from isal import igzip, isal_zlib

from deepmusic_genre.tracks import source
from deepmusic_genre.tracks.track import InvalidTrack

# The type stubs call it an instance.
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]

GZIP_ERRORS = (zlib.error, _ISAL_ERROR, EOFError, gzip.BadGzipFile)
"""What reading a truncated or damaged gzip raises."""

MAX_RATIO = 100
"""How many bytes may come out of a compressed one. Analyses have 3 to 10; a bomb has a thousand."""

_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 16


class _Counted(io.RawIOBase):
    """What ``io.BufferedReader`` needs around an object that can only ``read``, as those of remote file systems."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if isinstance(self._stream, io.BufferedIOBase):
            count = self._stream.readinto(buffer)
        else:
            content = self._stream.read(len(buffer))
            count = len(content)
            buffer[:count] = content
        self.count += count
        return count


class _Decompressed(io.RawIOBase):
    """Content of a gzip that refuses to swell beyond all measure."""

    def __init__(self, packed: _Counted) -> None:
        self._packed = packed
        self._content = igzip.open(io.BufferedReader(packed, _BUFFER_BYTES), "rb")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._content.read1(min(len(buffer), _BUFFER_BYTES))
        buffer[: len(content)] = content
        self._count += len(content)
        require_ratio(self._count, self._packed.count)
        return len(content)


def require_ratio(unpacked: int, packed: int) -> None:
    """Raises InvalidTrack if so many bytes came out of so few that it is a bomb; small files may have any ratio."""
    if unpacked > source.MAX_ANALYSIS_BYTES + MAX_RATIO * packed:
        raise InvalidTrack(f"more than {MAX_RATIO} times as large unpacked as packed: it may be a decompression bomb")


def decompressed(stream: BinaryIO) -> io.BufferedReader:
    """A stream itself, or what a gzip holds: told by its first bytes, not by its name.

    Reading from it raises :data:`GZIP_ERRORS` for a damaged gzip, and InvalidTrack for one that is a bomb.
    """
    plain = _Counted(stream)
    buffered: io.BufferedReader = io.BufferedReader(plain, _BUFFER_BYTES)
    if buffered.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
        return io.BufferedReader(_Decompressed(_Counted(buffered)), _BUFFER_BYTES)
    return buffered


def first_letter(stream: io.BufferedReader) -> bytes:
    """The first byte of a text that is no blank, left unread; empty where there is none.

    Raises:
        InvalidTrack: there are more blanks than an analysis may have bytes.
    """
    if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    passed = 0
    while head := stream.peek(1):
        text = head.lstrip()
        stream.read(len(head) - len(text))
        if text:
            return text[:1]
        passed += len(head)
        source.require_bounded(passed)
    return b""
