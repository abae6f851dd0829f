"""Keeps two processes apart."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock file for as long as the context lasts; a process that dies lets go of it.

    Raises:
        Locked: another process holds it.
        OSError: the file cannot be written.
    """
    with _held(path, fcntl.LOCK_EX):
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Holds a lock file together with others that share it; raises as :func:`exclusive`."""
    with _held(path, fcntl.LOCK_SH):
        yield


@contextmanager
def _held(path: Path, operation: int) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked from error
        yield
