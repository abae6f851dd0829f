"""Replaces a file's content whole or not at all, and keeps what else there is to a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepmusic_genre.tracks.audio import MAX_AUDIO_BYTES

_WRITABLE_BY_ANYBODY = 0o222


class Irreplaceable(Exception):
    """A file that is left as it is; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Original:
    """A file as it was read.

    Attributes:
        path: Of the file itself, not of a link to it.
    """

    path: Path
    content: bytes
    state: os.stat_result


def read_original(path: Path) -> Original:
    """Reads a file that can be replaced.

    Raises:
        Irreplaceable: it is read-only, has several names, is too large, or changed meanwhile.
        OSError: it cannot be read.
    """
    real = path.resolve(strict=True)
    with real.open("rb") as stream:
        state = os.fstat(stream.fileno())
        if not state.st_mode & _WRITABLE_BY_ANYBODY or not os.access(real, os.W_OK):
            raise Irreplaceable("it is read-only")
        if state.st_nlink > 1:
            raise Irreplaceable(f"it is {state.st_nlink} hard links to one file, of which only this one would change")
        content = stream.read(MAX_AUDIO_BYTES + 1)
    if len(content) > MAX_AUDIO_BYTES:
        raise Irreplaceable(f"it is larger than {MAX_AUDIO_BYTES >> 30} GiB")
    original = Original(real, content, state)
    _require_unchanged(original)
    return original


def replace_content(original: Original, content: bytes, announce: Callable[[], None]) -> None:
    """Gives a file another content; times, rights, owner and extended attributes stay.

    The new content is written beside the file, flushed to the disk, and takes the file's name.

    Args:
        original: The file.
        content: The new one.
        announce: Called when all is written, just before the file is replaced; what it raises stops that.

    Raises:
        Irreplaceable: it changed since it was read.
        OSError: the folder cannot be written to, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(prefix=".deepmusic-", suffix=".part", dir=original.path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            _like(original, stream.fileno(), name)
            os.fsync(stream.fileno())
        _require_unchanged(original)
        announce()
        _require_unchanged(original)
        Path(name).replace(original.path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _flush(original.path.parent)


def _like(original: Original, descriptor: int, name: str) -> None:
    owner = original.state.st_uid, original.state.st_gid
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != owner:
        try:
            os.fchown(descriptor, *owner)
        except PermissionError as error:
            raise Irreplaceable("it belongs to somebody else, and would not any more") from error
    shutil.copystat(original.path, name)


def _require_unchanged(original: Original) -> None:
    try:
        found = original.path.stat()
    except FileNotFoundError:
        raise Irreplaceable("it was removed while it was read") from None
    if _identity(found) != _identity(original.state):
        raise Irreplaceable("it changed while it was read")


def _identity(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
