"""A catalogue's files as pieces of work that are found again by what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from components.storage.files import fileio
from components.track_example_gen.catalogue import FILE_ERRORS
from components.track_example_gen.chunks import cut


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
    """Cuts a catalogue's files, see :func:`components.track_example_gen.chunks.cut`.

    Args:
        folder: of the catalogue.
        paths: its files, sorted.
        answered_by: changes when the answers may.
    """
    return [Shard(_key(chunk, answered_by), chunk) for chunk in cut(folder, paths)]


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
