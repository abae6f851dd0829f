"""Structs as JSON files, on a local disk or a remote file system."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Struct = TypeVar("Struct")


def write_json(path: str, struct: object) -> None:
    """Writes a struct, indented; a float that is no number becomes null."""
    from components.storage.files import (
        fileio,  # TFX takes seconds to import, which whoever needs the structs alone need not wait for.
    )

    with fileio.open(path, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(struct)))


def read_json(path: str, of_type: type[Struct]) -> Struct:
    """Reads what :func:`write_json` wrote; raises msgspec.DecodeError for anything else."""
    from components.storage.files import fileio

    with fileio.open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=of_type)
