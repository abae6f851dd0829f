"""The folder that versions are pushed to, as servers see it, and going back to one of them.

A child whose name is a number is a version, and TF Serving serves the highest. Whatever has another name it leaves
alone: versions are made and withdrawn under such names. Both are inside the folder, not beside it, because only within
one file system a rename is atomic, and the folder may be a mounted volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from components.errors import PipelineInputError

INCOMING = "incoming"
"""Here a version is copied to before it gets its number; what a push that was stopped left here goes with the next."""

WITHDRAWN = "withdrawn"
"""Here are versions that are not to be served, though they are newer than the one that is."""

_FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
_LARGEST = 2**63 - 1


class Place(Enum):
    """Where a version is, in words."""

    LIVE = "live"
    KEPT = "kept"
    WITHDRAWN = "withdrawn"
    REMOVED = "removed"


def version_number(name: str) -> int | None:
    """The version that TF Serving takes a folder for; None for no version at all."""
    digits = name.lstrip("0") or "0"
    if not (name.isascii() and name.isdigit() and len(digits) <= len(str(_LARGEST))):
        return None
    return int(digits) if int(digits) <= _LARGEST else None


def versions(names: Iterable[str]) -> dict[int, str]:
    """The versions among a folder's children, lowest first, with the name of each."""
    numbered = ((version_number(name), name) for name in sorted(names))
    return dict(sorted((number, name) for number, name in numbered if number is not None))


def place(pushed: Path, version: int) -> Place:
    """Where a version is."""
    served = versions(_children(pushed))
    if version in served:
        return Place.LIVE if version == max(served) else Place.KEPT
    return Place.WITHDRAWN if version in versions(_children(pushed / WITHDRAWN)) else Place.REMOVED


def known_versions(pushed: Path) -> list[int]:
    """Every version that is there, withdrawn ones as well, lowest first."""
    return sorted({*versions(_children(pushed)), *versions(_children(pushed / WITHDRAWN))})


def roll_back(pushed: Path, version: int) -> list[int]:
    """Makes a version the live one: brings it back if it was withdrawn, then withdraws the newer ones.

    At every moment, the highest version is the one that was live before or the one that is wanted: the newer ones go
    from the lowest upwards. If it is stopped in between, it goes on when it is called again.

    Args:
        pushed: the folder that servers look at.
        version: the version wanted.

    Returns:
        The versions that were withdrawn.

    Raises:
        PipelineInputError: there is no such version, it is not complete, or the folder cannot be written to.
    """
    withdrawn = pushed / WITHDRAWN
    back, served = versions(_children(withdrawn)), versions(_children(pushed))
    if version not in served and version not in back:
        known = ", ".join(map(str, known_versions(pushed))) or "none"
        raise PipelineInputError(f"There is no version {version} in {pushed}; there are: {known}.")
    folder = pushed / served[version] if version in served else withdrawn / back[version]
    missing = next((name for name in _FILES if not (folder / name).is_file()), None)
    if missing:
        raise PipelineInputError(f"Version {version} is not complete: {folder / missing} is not there.")
    newer = [number for number in served if number > version]
    try:
        if version not in served:
            folder.rename(pushed / folder.name)
        if newer:
            withdrawn.mkdir(exist_ok=True)
        for number in newer:
            (pushed / served[number]).rename(withdrawn / served[number])
    except OSError as error:
        raise PipelineInputError(f"Versions in {pushed} cannot be moved: {error.strerror}.") from error
    return newer


def _children(folder: Path) -> list[str]:
    try:
        return [child.name for child in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PipelineInputError(f"{folder} cannot be read: {error.strerror}.") from error
