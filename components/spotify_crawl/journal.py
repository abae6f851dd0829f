"""Records that are added one by one and outlive a kill."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

Record = TypeVar("Record")


class Journal(Generic[Record]):
    """A file of JSON lines that is only ever added to. A line that a kill cut short is removed when it is opened."""

    def __init__(self, path: Path, of_type: type[Record]) -> None:
        """Reads what there is; raises OSError, or msgspec.DecodeError for a file of another kind."""
        self._path = path
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        decoder = msgspec.json.Decoder(of_type)
        self.records: list[Record] = [decoder.decode(line) for line in whole.splitlines()]

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
