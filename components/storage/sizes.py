"""How much space something takes."""

from __future__ import annotations

import os

from components.storage.files import fileio
from components.storage.places import is_remote


def size_of(folder: str) -> int:
    """The bytes that a folder's removal gives back: a file that has another name elsewhere stays there.

    0 for a folder that is not there.
    """
    if not fileio.exists(folder):
        return 0
    files = (os.path.join(parent, name) for parent, _, names in fileio.walk(folder) for name in names)
    return sum(map(_given_back, files))


def _given_back(file: str) -> int:
    if is_remote(file):
        return int(fileio.stat(file).length)
    status = os.stat(file)
    return status.st_size if status.st_nlink == 1 else 0
