"""A catalogue's files in pieces that stay what they are when other files come or go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

_FILES_A_CHUNK = 128
_MOST_FILES = 512


def cut(folder: str, paths: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Cuts a catalogue's files into chunks of 128 on average.

    A file's own name decides whether a chunk ends with it, so that a file that comes or goes changes the chunk that it
    falls into and leaves the others as they are (content-defined chunking: Muthitacharoen, Chen, Mazieres, A
    Low-bandwidth Network File System, SOSP 2001).

    Args:
        folder: of the catalogue.
        paths: its files, sorted.
    """
    chunk: list[str] = []
    for path in paths:
        chunk.append(path)
        digest = hashlib.blake2b(os.path.relpath(path, folder).encode(), digest_size=8).digest()
        if int.from_bytes(digest, "big") % _FILES_A_CHUNK == 0 or len(chunk) == _MOST_FILES:
            yield tuple(chunk)
            chunk = []
    if chunk:
        yield tuple(chunk)
