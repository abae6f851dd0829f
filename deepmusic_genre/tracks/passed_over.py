"""Names of files and folders that are no music."""

from __future__ import annotations

_NO_MUSIC = {
    "$recycle.bin",
    "#recycle",
    "@eadir",
    "@recycle",
    "__macosx",
    "lost+found",
    "recycler",
    "system volume information",
}
"""Wastebaskets, and folders of file servers' own pictures, in lower case."""


def is_passed_over(name: str) -> bool:
    """Whether a file or a folder is no music by its name: hidden, a wastebasket, or a server's own."""
    return (name.startswith(".") and name not in {".", ".."}) or name.casefold() in _NO_MUSIC
