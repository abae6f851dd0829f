"""Files and folders of this machine or of a remote file system.

For the former without TFX, which takes seconds to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from deepmusic_genre.quiet import silent_import

STAGED = ("s3://",)
"""How the URIs of stores begin that TensorFlow and Beam do not know: what components read and write there is copied."""


def is_staged(place: str) -> bool:
    """Whether a place is in a store that components cannot open."""
    return place.startswith(STAGED)


def is_remote(place: str) -> bool:
    """Whether a place is the URI of a remote file system, not a path of this machine."""
    return "://" in place


def exists(place: str) -> bool:
    """Whether there is a file or a folder; raises OSError where that cannot be found out."""
    if not is_remote(place):
        return Path(place).exists()
    with _remote() as fileio:
        return bool(fileio.exists(place))


def children(folder: str) -> list[str]:
    """The names in a folder, none if there is no folder; raises OSError where it cannot be read."""
    if not is_remote(folder):
        try:
            return [child.name for child in Path(folder).iterdir()]
        except FileNotFoundError:
            return []
    with _remote() as fileio:
        # Some file systems list the names of folders with a slash behind.
        return [name.rstrip("/") for name in fileio.listdir(folder)] if fileio.exists(folder) else []


def read(path: str) -> bytes:
    """A file's content; raises OSError where it cannot be read."""
    if not is_remote(path):
        return Path(path).read_bytes()
    with _remote() as fileio, fileio.open(path, "rb") as file:
        return bytes(file.read())


def move(source: str, target: str, last: str) -> None:
    """Moves a folder.

    At once where the file system can. An object store cannot: there, file after file is copied, then removed, and a
    move that was stopped is gone on with by the same call.

    Args:
        source: the folder.
        target: its place afterwards; on this machine nothing may be there.
        last: the file by which readers know the folder. It comes last, and goes first.

    Raises:
        OSError: something cannot be read or written.
    """
    if not is_remote(source):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(source).rename(target)
        return
    with _remote() as fileio:
        files = sorted(_files(fileio, source), key=lambda name: name == last)
        for name in files:
            fileio.copy(f"{source}/{name}", f"{target}/{name}", overwrite=True)
        if last in files:
            fileio.remove(f"{source}/{last}")
        fileio.rmtree(source)


def _files(fileio: Any, folder: str) -> Iterator[str]:
    for parent, _, names in fileio.walk(folder):
        yield from (os.path.relpath(f"{parent.rstrip('/')}/{name}", folder) for name in names)


@contextmanager
def _remote() -> Iterator[Any]:
    fileio, error_of = _clients()
    try:
        yield fileio
    except error_of as error:
        raise OSError(None, error.message) from error
    except OSError as error:
        # Arrow's have a text alone.
        raise error if error.strerror else OSError(None, str(error)) from error


@cache
def _clients() -> tuple[Any, Any]:
    """TFX's file systems, and the error of TensorFlow's."""
    with silent_import():
        import tensorflow as tf

        from components.storage.files import fileio
    return fileio, tf.errors.OpError
