"""Finds an ID3v2 tag in a file and leaves those of its frames in it that are asked for.

A tag may hold megabytes of pictures, and what parses it copies its rest for every frame: so the few short frames that
count are picked first, in one pass. See https://id3.org/id3v2.4.0-structure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice

_HEADER = re.compile(rb"ID3([\x02-\x04])[^\xff]([\x00-\xff])([\x00-\x7f]{4})", re.DOTALL)
_CHUNK_NAMES = (b"id3 ", b"id3\0")
_NAME = re.compile(rb"[A-Z0-9]{3,4}")
_UNSYNCHRONISED, _EXTENDED = 0x80, 0x40
_MAX_FRAME_BYTES = 1 << 16
_MAX_BYTES = 1 << 18
_MAX_FRAMES = 10_000


def short_tag(content: bytes, names: Collection[bytes]) -> bytes:
    """A tag with some frames of a file's own.

    Args:
        content: The file. Its tag stands at its beginning, or in a chunk of WAV or AIFF, or where DSF says.
        names: Of the frames, those of ID3v2.2 as well. Frames of more than 64 KiB are left out.

    Returns:
        A tag of the same version; empty if there is none, or none that can be read.
    """
    header = _HEADER.match(content, _place(content))
    if not header:
        return b""
    version, flags, body = _body(content, header)
    frames = bytearray()
    for name, head, frame in islice(_frames(body, version), _MAX_FRAMES):
        if name in names and len(frame) <= _MAX_FRAME_BYTES and len(frames) < _MAX_BYTES:
            frames += head + frame
    return b"ID3" + bytes([version, 0, flags & _UNSYNCHRONISED]) + _written(len(frames), 7, 4) + bytes(frames)


def frame_names(content: bytes) -> list[bytes]:
    """The names of all frames in a file's tag, see :func:`short_tag`; empty if there is none."""
    header = _HEADER.match(content, _place(content))
    if not header:
        return []
    version, _, body = _body(content, header)
    return [name for name, _, _ in islice(_frames(body, version), _MAX_FRAMES)]


def leading_tag(content: bytes) -> bytes:
    """The tag that a file begins with, padding included; empty if there is none."""
    header = _HEADER.match(content)
    return content[: header.end() + _integer(header[3], 7)] if header else b""


def _body(content: bytes, header: re.Match[bytes]) -> tuple[int, int, bytes]:
    """A tag's version, what its flags still say of its frames, and these."""
    version, flags, size = header[1][0], header[2][0], _integer(header[3], 7)
    body = content[header.end() : header.end() + size]
    if version < 4 and flags & _UNSYNCHRONISED:
        body = body.replace(b"\xff\0", b"\xff")
        flags = 0
    if flags & _EXTENDED:
        body = body[_integer(body[:4], 7) if version == 4 else 4 + _integer(body[:4], 8) :] if version > 2 else b""
    return version, flags, body


def _place(content: bytes) -> int:
    if content.startswith((b"RIFF", b"RF64", b"FORM")):
        return _place_in_chunk(content)
    if content.startswith(b"DSD "):
        return min(_integer(content[20:28][::-1], 8), len(content))
    return len(content) - len(content.lstrip(b"\0")) if content.startswith(b"\0") else 0


def _place_in_chunk(content: bytes) -> int:
    """Where a chunk with a tag has it, behind its own name and size; the content's end if there is none."""
    place = content.find(b"ID3")
    while place >= 0 and content[max(place - 8, 0) : max(place - 4, 0)].lower() not in _CHUNK_NAMES:
        place = content.find(b"ID3", place + 1)
    return place if place >= 0 else len(content)


def _frames(body: bytes, version: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each frame's name, header and content."""
    letters, sizes, head = (3, 3, 6) if version == 2 else (4, 4, 10)
    place = 0
    while place + head <= len(body) and _NAME.fullmatch(name := body[place : place + letters]):
        written = body[place + letters : place + letters + sizes]
        start = place + head
        size = _integer(written, 8)
        # Some programs write plain sizes in version 2.4, too.
        if version == 4 and max(written) < 0x80 and _is_end(body, start + _integer(written, 7)):
            size = _integer(written, 7)
        place = start + size
        frame = body[start:place] if size <= _MAX_FRAME_BYTES else bytes(_MAX_FRAME_BYTES + 1)
        flags = body[start - 2 : start] if version > 2 else b""
        yield name, name + _written(len(frame), 7 if version == 4 else 8, sizes) + flags, frame


def _is_end(body: bytes, place: int) -> bool:
    """Whether a frame may end there: another one begins, or padding, or the tag ends."""
    follows = body[place : place + 4]
    return place <= len(body) and (not follows.strip(b"\0") or bool(_NAME.fullmatch(follows)))


def _integer(written: bytes, bits: int) -> int:
    number = 0
    for byte in written:
        number = number << bits | byte
    return number


def _written(number: int, bits: int, length: int) -> bytes:
    return bytes(number >> bits * place & ((1 << bits) - 1) for place in reversed(range(length)))
