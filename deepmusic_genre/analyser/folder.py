"""The user's cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Where what can be had again is kept; ``DEEPMUSIC_CACHE`` names another place."""
    return Path(os.environ.get("DEEPMUSIC_CACHE") or user_cache_path("deepmusic"))


def write_whole(file: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, and the folders that it lies in.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        try:
            part.write(content)
            part.flush()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink(missing_ok=True)
            raise
