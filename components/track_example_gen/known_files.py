"""The files of a catalogue that are what they were, by size and times, and so need not be read to find out."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from uuid import uuid4

import msgspec

from components.storage.files import fileio
from components.storage.places import is_remote
from components.track_example_gen.catalogue import FILE_ERRORS, content_digest, unreadable
from components.track_example_gen.progress import Moments

FILE = ".known_files"
"""In the store of shards, which no shard's name begins like."""

_COARSEST_NS = 2_000_000_000
"""FAT's file times are that coarse, and no others are coarser."""


class _Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file's size, times and hash of its content, as they were when it was read."""

    size: int
    modified_ns: int
    changed_ns: int
    digest: bytes

    def is_still(self, status: os.stat_result) -> bool:
        return (self.size, self.modified_ns, self.changed_ns) == (
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


class KnownFiles:
    """Hashes of files' contents; those of files of this machine are kept with the files' sizes and times.

    As in Git's index, a file that was written just before it was read is not kept: written once more at the same time
    of its clock, it would look the same. The time of change is compared, too, which nobody can set back.

    Attributes:
        asked: how many hashes were asked for.
        unread: how many of them were known.
    """

    def __init__(self, store: str | None, trusted: bool = True) -> None:
        """Reads what was kept.

        Args:
            store: the folder of shards; None keeps nothing.
            trusted: whether what was kept counts. If not, every file is read, once.
        """
        self.asked = self.unread = 0
        self._file = os.path.join(store, FILE) if store else None
        self._known = _load(self._file) if self._file and trusted else {}
        self._seen: dict[str, _Known] = {}
        self._moments = Moments()

    def digest(self, path: str) -> bytes:
        """See :func:`components.track_example_gen.catalogue.content_digest`."""
        self.asked += 1
        before = None if is_remote(path) else _status(path)
        known = self._known.get(path)
        if known and before and known.is_still(before):
            self.unread += 1
            self._seen[path] = known
            return known.digest
        now = time.time_ns()
        digest = content_digest(path, self._moments)
        if before and digest != unreadable() and max(before.st_mtime_ns, before.st_ctime_ns) < now - _COARSEST_NS:
            found = _Known(before.st_size, before.st_mtime_ns, before.st_ctime_ns, digest)
            if (after := _status(path)) and found.is_still(after):
                self._known[path] = self._seen[path] = found
        return digest

    def save(self) -> None:
        """Keeps what was asked for. A store that cannot be written to keeps nothing; whoever needs it says so."""
        if self._file is None:
            return
        new = f"{self._file}.{uuid4().hex}"
        with suppress(*FILE_ERRORS):
            fileio.makedirs(os.path.dirname(self._file))
            with fileio.open(new, "wb") as file:
                file.write(msgspec.json.encode(self._seen))
            fileio.rename(new, self._file, overwrite=True)


def _load(path: str) -> dict[str, _Known]:
    with suppress(*FILE_ERRORS, msgspec.DecodeError):
        if fileio.exists(path):
            with fileio.open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, _Known])
    return {}


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
