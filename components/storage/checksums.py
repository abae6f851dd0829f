"""Checksums of a folder's files, by which damage is found before anything is made from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from isal import isal_zlib

from components.storage.files import fileio
from components.storage.places import is_remote

_CHUNK_BYTES = 1 << 22


def checksums(folder: str) -> dict[str, str]:
    """Each file's size and CRC-32, ``1048576:0a1b2c3d``, by its path below the folder.

    On a remote file system the size alone: such a store checks its own content, and reading it again costs a download.
    Sizes are what is compared there, too.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """
    return {name: _checksum(os.path.join(folder, name)) for name in sorted(_files(folder))}


def damage(folder: str, expected: Mapping[str, str], alone: bool = True) -> str | None:
    """What is wrong with the first damaged file of a folder.

    Args:
        folder: Folder that was complete once.
        expected: Its checksums at that time.
        alone: Whether a file that is not among them is damage, too.

    Returns:
        The file and what is wrong with it; None if every file is as it was.
    """
    there = set(_files(folder)) if fileio.exists(folder) else set()
    for name in sorted({*expected, *there} if alone else expected):
        if name not in there:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} was put there by something else"
        found = _checksum(os.path.join(folder, name))
        if found not in (expected[name], expected[name].partition(":")[0]):
            return f"{name} has changed"
    return None


def _files(folder: str) -> Iterator[str]:
    for parent, _, names in fileio.walk(folder):
        # A file manager's notes on a folder are not part of it.
        yield from (os.path.relpath(os.path.join(parent, name), folder) for name in names if not name.startswith("."))


def _checksum(file: str) -> str:
    if is_remote(file):
        return str(fileio.stat(file).length)
    size = crc = 0
    with open(file, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            size, crc = size + len(chunk), isal_zlib.crc32(chunk, crc)
    return f"{size}:{crc:08x}"
