"""How much space something takes."""

from __future__ import annotations

import os

from components.storage.files import fileio


def size_of(folder: str) -> int:
    """The bytes of all files below a folder; 0 for one that is not there."""
    if not fileio.exists(folder):
        return 0
    files = (os.path.join(parent, name) for parent, _, names in fileio.walk(folder) for name in names)
    return sum(fileio.stat(file).length for file in files)
