"""Structs as JSON files, on a local disk or a remote file system."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from tfx.dsl.io import fileio

Struct = TypeVar("Struct")


def write_json(path: str, struct: object) -> None:
    """Writes a struct, indented; a float that is no number becomes null."""
    with fileio.open(path, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(struct)))


def read_json(path: str, of_type: type[Struct]) -> Struct:
    """Reads what :func:`write_json` wrote; raises msgspec.DecodeError for anything else."""
    with fileio.open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=of_type)
