"""The versions that were pushed, where they are found and how one is chosen."""

from __future__ import annotations

from pathlib import Path

from components.errors import PipelineInputError
from serving.server.versions import VersionPolicy, aspired_versions


def pushed_models(home: str) -> Path:
    """The folder of pushed versions of a pipeline, or of its run on the demo catalogue.

    Raises:
        PipelineInputError: no version was pushed.
    """
    candidates = [Path(home) / "pushed", Path(f"{home}-demo") / "pushed"]
    for folder in candidates:
        if folder.is_dir() and any(version.name.isdigit() for version in folder.iterdir()):
            return folder
    places = " or ".join(map(str, candidates))
    raise PipelineInputError(f"No model was pushed to {places}: make run-local pushes one.")


def pushed_version(models: Path, version: int | None) -> Path:
    """The folder of one version, None for the newest.

    Raises:
        PipelineInputError: there is no such version.
    """
    names = [folder.name for folder in models.iterdir()]
    policy = VersionPolicy() if version is None else VersionPolicy(specific=frozenset({version}))
    wanted = aspired_versions(names, policy)
    if not wanted:
        there = ", ".join(sorted(filter(str.isdigit, names), key=int))
        raise PipelineInputError(f"No version {version} was pushed to {models}; there are {there}.")
    return models / max(wanted.items())[1]
