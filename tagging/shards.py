"""A catalogue's files as pieces of work that are found again by what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfx.dsl.io import fileio

from components.track_example_gen.catalogue import FILE_ERRORS

_FILES_A_SHARD = 128
_MOST_FILES = 512


@dataclass(frozen=True)
class Shard:
    """Files that are tagged together.

    Attributes:
        key: a hash of the files' names, sizes and times, and of what answers; equal only if nothing changed.
        paths: the files.
    """

    key: str
    paths: tuple[str, ...]


def plan_shards(folder: str, paths: Sequence[str], answered_by: str) -> list[Shard]:
    """Cuts a catalogue's files, 128 on average.

    A file's own name decides whether a shard ends with it, so that a file that comes or goes changes the shard that it
    falls into and leaves the others as they are (content-defined chunking: Muthitacharoen, Chen, Mazieres, A
    Low-bandwidth Network File System, SOSP 2001).

    Args:
        folder: of the catalogue.
        paths: its files, sorted.
        answered_by: changes when the answers may.
    """
    return [Shard(_key(shard, answered_by), tuple(shard)) for shard in _cut(folder, paths)]


def _cut(folder: str, paths: Sequence[str]) -> Iterator[list[str]]:
    shard: list[str] = []
    for path in paths:
        shard.append(path)
        digest = hashlib.blake2b(os.path.relpath(path, folder).encode(), digest_size=8).digest()
        if int.from_bytes(digest, "big") % _FILES_A_SHARD == 0 or len(shard) == _MOST_FILES:
            yield shard
            shard = []
    if shard:
        yield shard


def _key(paths: Sequence[str], answered_by: str) -> str:
    digest = hashlib.blake2b(answered_by.encode(), digest_size=16)
    for path in paths:
        digest.update(f"\0{path}\0{_state(path)}".encode())
    return digest.hexdigest()


def _state(path: str) -> str:
    try:
        found = fileio.stat(path)
    except FILE_ERRORS:
        return "unreadable"  # The file is rejected with its reason where it is read.
    return f"{found.length} {found.mtime_nsec}"
