"""A JSON array or object of any size, or JSON objects one after another, element by element."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec
import numpy as np

from deepmusic_genre.tracks import source
from deepmusic_genre.tracks.track import InvalidTrack

_BLOCK_BYTES = 1 << 20
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|[^,"\s]+')
_QUOTE = ord('"')
# Brackets and braces differ in this bit alone, and nothing else becomes one of the two with it.
_BRACE_BIT = 0x20
_OPENING, _CLOSING = ord("{"), ord("}")


def elements(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The texts of an array's elements, as they stand there; whether one is valid JSON is not looked at.

    Memory holds a block and the element that is being read, whatever the array's size.

    Args:
        stream: starts with the opening bracket.

    Raises:
        InvalidTrack: the array does not end, something follows its end, or an element is larger than an analysis may
            be, as all the rest is where a bracket or a quote is missing.
    """
    yield from _elements(blocks(stream), _Brackets(0))


def objects(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The texts of JSON objects that follow one another, over any number of lines each; see :func:`elements`."""
    yield from _elements(blocks(stream), _Brackets(1))


def members(text: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """The keys of an object and the texts of their values, of those that are objects or arrays.

    Args:
        text: blocks of it; the first starts with the opening brace.

    Raises:
        InvalidTrack: as :func:`elements`, or a key is no JSON.
    """
    key = b""
    for element in _elements(iter(text), _Brackets(0)):
        if element.startswith((b"{", b"[")):
            try:
                yield msgspec.json.decode(key, type=str), element
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidTrack(f"not valid JSON: {error}") from error
        elif element.startswith(b'"'):
            key = element


def blocks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The bytes of a stream, as they come."""
    # Of a truncated gzip one long read would answer nothing, and lose what comes before the fault.
    while block := stream.read1(_BLOCK_BYTES):
        yield block


def _elements(text: Iterator[bytes], brackets: _Brackets) -> Iterator[bytes]:
    buffer, begin = bytearray(), 0
    for block in text:
        offset = len(buffer)
        buffer += block
        for place, edge in brackets.outer(block):
            here = offset + place
            if edge == _Brackets.ELEMENT_BEGINS:
                yield from _scalars(buffer[begin:here])
                begin = here
            elif edge == _Brackets.ELEMENT_ENDS:
                yield bytes(buffer[begin : here + 1])
                begin = here + 1
            elif edge == _Brackets.ARRAY_BEGINS:
                begin = here + 1
            else:
                yield from _scalars(buffer[begin:here])
                _require_end(buffer[here + 1 :], text)
                return
        del buffer[:begin]
        begin = 0
        source.require_bounded(len(buffer))
    if brackets.depth != brackets.outermost:
        raise InvalidTrack("truncated: the array does not end")
    yield from _scalars(buffer)


def _scalars(between: bytearray) -> list[bytes]:
    """What stands between two objects besides their comma."""
    return _SCALAR.findall(between)


def _require_end(rest: bytearray, text: Iterator[bytes]) -> None:
    if any(part.strip() for part in chain([bytes(rest)], text)):
        raise InvalidTrack("something follows the end of the array")


class _Brackets:
    """Follows the nesting of brackets outside strings through blocks of a text.

    All of a block at once in NumPy: a real analysis has a bracket every 30 bytes, too many for a loop.
    """

    ARRAY_BEGINS, ELEMENT_BEGINS, ELEMENT_ENDS, ARRAY_ENDS = range(4)

    def __init__(self, outermost: int) -> None:
        """Begins outside an array, at 0, or between the elements of one, at 1."""
        self.outermost = self.depth = outermost
        self._in_string = False
        self._escaped = False

    def outer(self, block: bytes) -> list[tuple[int, int]]:
        """The places in a block where the array or an element of it begins or ends, and which of these it is."""
        codes = np.frombuffer(self._without_escapes(block), np.uint8)
        quotes = np.flatnonzero(codes == _QUOTE)
        folded = codes | _BRACE_BIT
        places = np.flatnonzero((folded == _OPENING) | (folded == _CLOSING))
        places = places[(np.searchsorted(quotes, places) + self._in_string) % 2 == 0]
        opens = folded[places] == _OPENING
        depths = self.depth + np.cumsum(np.where(opens, 1, -1))
        self._in_string ^= bool(len(quotes) % 2)
        self.depth = int(depths[-1]) if len(depths) else self.depth
        # The depth outside the bracket: 0 for the array's own, 1 for an element's.
        outside = depths - opens
        shallow = np.flatnonzero(outside <= 1)
        kinds = np.where(
            opens[shallow],
            np.where(outside[shallow] == 1, self.ELEMENT_BEGINS, self.ARRAY_BEGINS),
            np.where(outside[shallow] == 1, self.ELEMENT_ENDS, self.ARRAY_ENDS),
        )
        return list(zip(places[shallow].tolist(), kinds.tolist(), strict=True))

    def _without_escapes(self, block: bytes) -> bytes:
        """The block with another letter for each that is escaped, so that every quote left begins or ends a string."""
        if self._escaped:
            block = b"_" + block[1:]
        plain = _ESCAPE.sub(b"__", block) if b"\\" in block else block
        self._escaped = plain.endswith(b"\\")
        return plain
