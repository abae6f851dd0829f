"""The versions that were pushed, where they are found and how one is chosen."""

from __future__ import annotations

from pathlib import Path

from components.pusher.folder import whole_versions
from components.storage.places import is_remote, is_staged
from deepmusic_genre.errors import PipelineInputError
from pipeline.settings import Settings, of_demo


def pushing_settings(settings: Settings) -> Settings:
    """The settings under whose name versions were pushed: the ones given, or those of the demo catalogue's runs.

    Raises:
        PipelineInputError: no version was pushed.
    """
    candidates = [settings, of_demo(settings)]
    for candidate in candidates:
        if whole_versions(candidate.pushed):
            return candidate
    places = " or ".join(candidate.pushed for candidate in candidates)
    raise PipelineInputError(f"No model was pushed to {places}: `deepmusic run` pushes one.")


def pushed_models(settings: Settings) -> Path:
    """The folder of pushed versions, for whatever serves those of this machine alone.

    Raises:
        PipelineInputError: no version was pushed, or they are on a remote file system.
    """
    models = pushing_settings(settings).pushed
    if is_remote(models):
        other = "" if is_staged(models) else f", or give it to TF Serving, which reads it as --model_base_path={models}"
        raise PipelineInputError(f"{models} is not a local folder: copy a version to one{other}.")
    return Path(models)


def pushed_version(models: str, version: int | None) -> str:
    """The folder of one version, None for the newest.

    Raises:
        PipelineInputError: there is no such version, or it did not come there as a whole.
    """
    there = whole_versions(models)
    number = max(there, default=None) if version is None else version
    if number not in there:
        wanted = "version" if number is None else f"version {number}"
        raise PipelineInputError(
            f"No {wanted} was pushed to {models}; there are {', '.join(map(str, there)) or 'none'}."
        )
    return f"{models}/{there[number]}"
