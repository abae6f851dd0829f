"""What a command runs with, for a person who asks or reports a fault."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deepmusic_genre.version import DISTRIBUTION, __version__

_PACKAGES = ("tfx", "tensorflow", "keras", "apache-beam", "numpy", "av", "click")


def lines(checkout: Path | None) -> Iterator[str]:
    """A line each: the program, Python, the packages that matter, the machine and the folders.

    Args:
        checkout: Folder of the project, None for the installed package.
    """
    yield f"{DISTRIBUTION} {__version__}"
    yield f"Python {platform.python_version()} in {sys.prefix}"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package}: not installed"
    yield f"{platform.platform()}, {os.cpu_count()} cores"
    yield f"checkout: {checkout or 'none; this is the installed package'}"
