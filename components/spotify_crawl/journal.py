"""Records that are added one by one and outlive a kill."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

Record = TypeVar("Record")


class DamagedFile(ValueError):
    """A file is not what was written there; the message names it."""


def decode(path: Path, content: bytes, of_type: type[Record]) -> Record:
    """Reads a struct that comes from a file; raises DamagedFile if it is none of that type."""
    try:
        return msgspec.json.decode(content, type=of_type)
    except msgspec.DecodeError as error:
        raise DamagedFile(f"{path} is damaged, or not its own: {error}") from error


class Journal(Generic[Record]):
    """A file of JSON lines that is only ever added to. A line that a kill cut short is removed when it is opened."""

    def __init__(self, path: Path, of_type: type[Record]) -> None:
        """Reads what there is; raises OSError, or DamagedFile for a file of another kind."""
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        self.records: list[Record] = [decode(path, line, of_type) for line in whole.splitlines()]

    def add(self, *records: Record) -> None:
        """Adds records; they are on the disk when this returns.

        Raises:
            OSError: they are not.
        """
        with self._path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
            file.flush()
            os.fsync(file.fileno())
        self.records.extend(records)

    def clear(self) -> None:
        """Removes all records."""
        self._path.unlink(missing_ok=True)
        self.records = []
