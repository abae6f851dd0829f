"""What it takes to get a file back from its changed self: a list of what is still there, and the bytes that are not.

Blocks that stand at their old place, at the same distance from the end, or further off, are found as rsync finds them
(Tridgell, Mackerras: The rsync algorithm, 1996), but from a few places alone: tags are edited in one.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence

_BLOCK = 1024
_MAX_SEARCHES = 64

Delta = list[tuple[int, int] | str]
"""In the order of the former content: start and length of bytes in the new one, or bytes, packed as text."""


def delta(former: bytes, new: bytes) -> Delta:
    """What makes ``former`` of ``new``, see :func:`restored`."""
    parts: Delta = []
    for start, stop, place in _joined(_blocks(former, new)):
        if place is None:
            parts.append(base64.b85encode(zlib.compress(former[start:stop])).decode())
        else:
            parts.append((place, stop - start))
    return parts


def restored(parts: Sequence[tuple[int, int] | str], new: bytes) -> bytes:
    """The former content.

    Raises:
        ValueError: the parts are none of :func:`delta`.
    """
    try:
        return b"".join(
            zlib.decompress(base64.b85decode(part)) if isinstance(part, str) else new[part[0] : part[0] + part[1]]
            for part in parts
        )
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from error


def _blocks(former: bytes, new: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Each block's start and end, and where it stands in the new content, None where it was not found."""
    shifts = [0, len(new) - len(former)]
    searches = 0
    for start in range(0, len(former), _BLOCK):
        block = former[start : start + _BLOCK]
        shift = next((shift for shift in shifts if start + shift >= 0 and new.startswith(block, start + shift)), None)
        if shift is None and searches < _MAX_SEARCHES:
            searches += 1
            place = new.find(block)
            if place >= 0:
                shift = place - start
                shifts.insert(0, shift)
        yield start, start + len(block), None if shift is None else start + shift


def _joined(blocks: Iterator[tuple[int, int, int | None]]) -> Iterator[tuple[int, int, int | None]]:
    """Neighbours that are neighbours in the new content as well, or are both not in it, as one."""
    known: tuple[int, int, int | None] | None = None
    for start, stop, place in blocks:
        if known is None:
            known = start, stop, place
        elif place == (None if known[2] is None else known[2] + start - known[0]):
            known = known[0], stop, known[2]
        else:
            yield known
            known = start, stop, place
    if known is not None:
        yield known
