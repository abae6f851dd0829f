"""Which code a step ran: part of what the cache compares, so that a change of code is not taken from the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_SUFFIXES = {".py", ".j2", ".css"}


def code_version(*packages: str) -> str:
    """A hash of the files of packages, templates and all, given by their folders below the project's."""
    digest = hashlib.blake2b(digest_size=8)
    for package in packages:
        files = (file for file in (_ROOT / package).rglob("*") if file.suffix in _SUFFIXES)
        for file in sorted(files):
            digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
