"""The file that takes written tags back: a JSON line for each file, on the disk before the file changes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import msgspec

from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.delta import delta, restored


class Written(msgspec.Struct, frozen=True):
    """A change of a file.

    Attributes:
        file: Its absolute path.
        genre: What was written.
        was: The genres that it had named.
        before, after: Hashes of its content.
        delta: What makes the former content of the new one, see :mod:`deepmusic_genre.tracks.delta`.
    """

    file: str
    genre: str
    was: tuple[str, ...]
    before: str
    after: str
    delta: list[tuple[int, int] | str]


def written(file: Path, genre: str, was: tuple[str, ...], former: bytes, new: bytes) -> Written:
    """The record of a change.

    Raises:
        ValueError: it could not be taken back.
    """
    record = Written(str(file), genre, was, content_hash(former), content_hash(new), delta(former, new))
    former_content(record, new)
    return record


def former_content(record: Written, new: bytes) -> bytes:
    """What a file held before.

    Raises:
        ValueError: The record is damaged.
    """
    former = restored(record.delta, new)
    if content_hash(former) != record.before:
        raise ValueError("the former content does not come back")
    return former


def content_hash(content: bytes) -> str:
    """What tells the content of one file from another's."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class UndoFile:
    """An undo file that is open for further records."""

    def __init__(self, stream: FileIO) -> None:
        """Takes the stream, without a buffer, at its end."""
        self._stream = stream

    def append(self, record: Written) -> None:
        """Adds a record, and returns when it is on the disk.

        Raises:
            OSError: It is not; nothing of it is left then.
        """
        end = self._stream.tell()
        try:
            line = msgspec.json.encode(record) + b"\n"
            if self._stream.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._stream.fileno())
        except OSError:
            self._stream.truncate(end)
            self._stream.seek(end)
            raise


@contextmanager
def open_undo(path: Path) -> Iterator[UndoFile]:
    """Opens an undo file, and keeps other calls away from it.

    Raises:
        PipelineInputError: It holds something else, another call writes to it, or it cannot be written to.
    """
    try:
        stream = path.open("a+b", buffering=0)
    except OSError as error:
        raise PipelineInputError(f"{path} cannot be written to: {error.strerror}.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PipelineInputError(f"Another call writes to {path}: wait for it to end.") from error
        # What a killed call has not written to its end is of a file that it has not changed.
        with path.open("rb") as lines:
            stream.truncate(sum(len(line) for line in lines if _is_record(line, path)))
        stream.seek(0, os.SEEK_END)
        try:
            yield UndoFile(stream)
        finally:
            if not stream.tell():  # There is nothing to take back.
                path.unlink()


def read_undo(path: Path) -> list[Written]:
    """All records, the newest first.

    Raises:
        PipelineInputError: It is no undo file, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return [_record(line, path) for line in stream if _is_record(line, path)][::-1]
    except OSError as error:
        raise PipelineInputError(f"{path} cannot be read: {error.strerror}.") from error


def _is_record(line: bytes, path: Path) -> bool:
    """Whether it was written to its end."""
    return line.endswith(b"\n") and bool(_record(line, path))


def _record(line: bytes, path: Path) -> Written:
    try:
        return msgspec.json.decode(line, type=Written)
    except msgspec.DecodeError as error:
        raise PipelineInputError(f"{path} is no undo file of deepmusic write-tags: {error}.") from error
