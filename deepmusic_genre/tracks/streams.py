"""Files as streams of bytes, decompressed where they are compressed."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from isal import igzip, isal_zlib

from deepmusic_genre.tracks import source
from deepmusic_genre.tracks.track import InvalidTrack

# The type stubs call it an instance.
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]

GZIP_ERRORS = (zlib.error, _ISAL_ERROR, EOFError, gzip.BadGzipFile)
"""What reading a truncated or damaged gzip raises."""

MAX_RATIO = 100
"""How many bytes may come out of a compressed one. Analyses have 3 to 10; a bomb has a thousand."""

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed files that are read."""

_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC_BYTES = 6
_BUFFER_BYTES = 1 << 16
_MAX_XZ_BYTES = 1 << 28


def with_compressions(*endings: str) -> tuple[str, ...]:
    """Each ending plain and compressed."""
    return tuple(ending + packed for ending in endings for packed in ("", *COMPRESSIONS))


class _Reader(Protocol):
    def read1(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""


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
    """Content of a compressed file that refuses to swell beyond all measure."""

    def __init__(self, packed: _Counted, opened: Callable[[io.BufferedReader], _Reader]) -> None:
        self._packed = packed
        self._content = opened(io.BufferedReader(packed, _BUFFER_BYTES))
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._content.read1(min(len(buffer), _BUFFER_BYTES))
        buffer[: len(content)] = content
        self._count += len(content)
        require_ratio(self._count, self._packed.count)
        return len(content)


class _Parts:
    """Content of a bzip2 or xz, of one part or several in a row, without more memory than is asked for."""

    def __init__(self, packed: io.BufferedReader, kind: str, new: Callable[[], Any]) -> None:
        self._packed = packed
        self._kind = kind
        self._new = new
        self._part = new()
        self._rest = b""

    def read1(self, size: int) -> bytes:
        content = b""
        while not content and (not self._part.eof or self._begin_next()):
            try:
                content = self._part.decompress(self._input(), size)
            except (OSError, lzma.LZMAError, EOFError) as error:
                raise _damaged(self._kind, error) from error
        return content

    def _input(self) -> bytes:
        if not self._part.needs_input:
            return b""
        packed, self._rest = self._rest or self._packed.read1(_BUFFER_BYTES), b""
        if not packed:
            raise EOFError("it does not end")
        return packed

    def _begin_next(self) -> bool:
        """Begins the part that follows, if there is one. Zeros between parts are padding."""
        rest = self._part.unused_data.lstrip(b"\0")
        while not rest:
            packed = self._packed.read1(_BUFFER_BYTES)
            if not packed:
                return False
            rest = packed.lstrip(b"\0")
        self._rest, self._part = rest, self._new()
        return True


class _Zstd:
    """Content of a zstd."""

    def __init__(self, packed: io.BufferedReader) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise InvalidTrack("zstd needs the package pyarrow: install it, or unpack the file by zstd -d") from error
        self._content = pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")

    def read1(self, size: int) -> bytes:
        try:
            content: bytes = self._content.read(size)
        except OSError as error:
            raise _damaged("zstd", error) from error
        return content


def _damaged(kind: str, error: Exception) -> InvalidTrack:
    return InvalidTrack(f"truncated or damaged {kind}: {error}")


def require_ratio(unpacked: int, packed: int) -> None:
    """Raises InvalidTrack if so many bytes came out of so few that it is a bomb; small files may have any ratio."""
    if unpacked > source.MAX_ANALYSIS_BYTES + MAX_RATIO * packed:
        raise InvalidTrack(f"more than {MAX_RATIO} times as large unpacked as packed: it may be a decompression bomb")


_OPENED: dict[bytes, Callable[[io.BufferedReader], _Reader]] = {
    _GZIP_MAGIC: lambda packed: igzip.open(packed, "rb"),
    b"BZh": lambda packed: _Parts(packed, "bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": lambda packed: _Parts(packed, "xz", lambda: lzma.LZMADecompressor(memlimit=_MAX_XZ_BYTES)),
    b"\x28\xb5\x2f\xfd": _Zstd,
}


def decompressed(stream: BinaryIO) -> io.BufferedReader:
    """A stream itself, or what a gzip, bzip2, xz or zstd holds: told by its first bytes, not by its name.

    Reading from it raises :data:`GZIP_ERRORS` for a damaged gzip, and InvalidTrack for one that is a bomb and for
    what else is damaged.

    Raises:
        InvalidTrack: it is a zstd, and what reads it is not installed.
    """
    plain = _Counted(stream)
    buffered: io.BufferedReader = io.BufferedReader(plain, _BUFFER_BYTES)
    head = buffered.peek(_MAGIC_BYTES)
    for magic, opened in _OPENED.items():
        if head.startswith(magic):
            return io.BufferedReader(_Decompressed(_Counted(buffered), opened), _BUFFER_BYTES)
    return buffered


_LETTERS = (b"{", b"[", b'"')
_HEADS = {
    # UTF-32 first: one of its marks begins like one of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    **{letter + b"\0\0\0": "utf-32-le" for letter in _LETTERS},
    **{b"\0\0\0" + letter: "utf-32-be" for letter in _LETTERS},
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    **{letter + b"\0": "utf-16-le" for letter in _LETTERS},
    **{b"\0" + letter: "utf-16-be" for letter in _LETTERS},
}
_HEAD_BYTES = 4


class _Recoded(io.RawIOBase):
    """A text in another encoding as UTF-8."""

    def __init__(self, text: io.BufferedReader, encoding: str) -> None:
        self._text = text
        self._name = encoding[: len("utf-16")].upper()
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content, ended = b"", False
        while not content and not ended:
            # Two bytes become three at most, and those that wait in the decoder are fewer than four.
            text = self._text.read1(len(buffer) // 2)
            ended = not text
            try:
                content = self._decoder.decode(text, final=ended).encode()
            except UnicodeError as error:
                raise InvalidTrack(f"not valid {self._name}: {error}") from error
        buffer[: len(content)] = content
        return len(content)


def text_of(stream: BinaryIO) -> io.BufferedReader:
    """A text in UTF-8, decompressed, and recoded where its first bytes say that it is in UTF-16 or UTF-32."""
    content = decompressed(stream)
    head = content.peek(_HEAD_BYTES)
    encoding = next((encoding for begin, encoding in _HEADS.items() if head.startswith(begin)), None)
    return io.BufferedReader(_Recoded(content, encoding), _BUFFER_BYTES) if encoding else content


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
