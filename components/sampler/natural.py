"""How frequent genres were before a sampling, for whoever learns from the sample and answers to all tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json

_FILE = "natural.json"


def save_natural_counts(folder: str, counts: Mapping[str, int]) -> None:
    """Writes the training tracks by genre, as they were, into the folder of an Examples artifact."""
    write_json(os.path.join(folder, _FILE), counts)


def load_natural_counts(folder: str) -> dict[str, int] | None:
    """Reads what :func:`save_natural_counts` wrote; None for examples whose genres are as frequent as is wanted."""
    path = os.path.join(folder, _FILE)
    return read_json(path, dict[str, int]) if fileio.exists(path) else None
