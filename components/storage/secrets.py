"""Secrets, which stand in no settings and no command line: those are kept with what a run makes, and logged."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from deepmusic_genre.errors import PipelineInputError


def read_secret(name: str, folder: Path | None = None) -> str:
    """A secret from the environment or, where that has none, from ``.env``; empty where neither has it.

    Args:
        name: of its variable.
        folder: where ``.env`` lies, by default the working directory.

    Raises:
        PipelineInputError: ``.env`` is no text.
    """
    file = (folder or Path.cwd()) / ".env"
    try:
        from_file = dotenv_values(file, interpolate=False)
    except (OSError, UnicodeDecodeError):
        raise PipelineInputError(f"{file} cannot be read as a text in UTF-8.") from None
    return (os.environ.get(name) or from_file.get(name) or "").strip()
