"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "deepmusic-genre"


def _installed() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+checkout"  # As in Kubeflow's image, which runs the code from its folder.


__version__ = _installed()
