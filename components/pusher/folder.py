"""The folder that versions are pushed to, as servers see it, and going back to one of them.

A child whose name is a number is a version, and TF Serving serves the highest. Whatever has another name it leaves
alone: versions are made and withdrawn under such names. Both are inside the folder, not beside it, because only within
one file system a rename is atomic, and the folder may be a mounted volume.

An object store has no rename. There, a version is copied with the file that TF Serving knows a model by as the last
one: it tries a version without that file again, and never loads a part of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from components.storage.places import children, exists, move
from deepmusic_genre.errors import PipelineInputError

INCOMING = "incoming"
"""Here a version is copied to before it gets its number; what a push that was stopped left here goes with the next."""

WITHDRAWN = "withdrawn"
"""Here are versions that are not to be served, though they are newer than the one that is."""

SAVED_MODEL = "saved_model.pb"
"""The file that TF Serving knows a model by."""

_FILES = (SAVED_MODEL, "variables/variables.index", "variables/variables.data-00000-of-00001")
_LARGEST = 2**63 - 1


class Place(Enum):
    """Where a version is, in words."""

    LIVE = "live"
    KEPT = "kept"
    WITHDRAWN = "withdrawn"
    INCOMPLETE = "incomplete"
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


def place(pushed: str, version: int) -> Place:
    """Where a version is."""
    return places(pushed).get(version, Place.REMOVED)


def places(pushed: str) -> dict[int, Place]:
    """Where every version is that is there, lowest first."""
    served = whole_versions(pushed)
    found = dict.fromkeys(known_versions(pushed), Place.INCOMPLETE)
    found.update(dict.fromkeys(whole_versions(f"{pushed}/{WITHDRAWN}"), Place.WITHDRAWN))
    found.update({version: Place.LIVE if version == max(served) else Place.KEPT for version in served})
    return found


def known_versions(pushed: str) -> list[int]:
    """Every version that is there, withdrawn ones as well, lowest first."""
    return sorted({*versions(_children(pushed)), *versions(_children(f"{pushed}/{WITHDRAWN}"))})


def roll_back(pushed: str, version: int) -> list[int]:
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
    withdrawn = f"{pushed}/{WITHDRAWN}"
    back, served = versions(_children(withdrawn)), versions(_children(pushed))
    folders = folders_of(pushed, version)
    if not folders:
        known = ", ".join(map(str, known_versions(pushed))) or "none"
        raise PipelineInputError(f"There is no version {version} in {pushed}; there are: {known}.")
    folder = next(filter(is_whole, folders), folders[0])
    missing = next((name for name in _FILES if not exists(f"{folder}/{name}")), None)
    if missing:
        raise PipelineInputError(f"Version {version} is not complete: {folder}/{missing} is not there.")
    newer = [number for number in served if number > version]
    try:
        if folder.startswith(f"{withdrawn}/"):
            move(folder, f"{pushed}/{back[version]}", SAVED_MODEL)
        for number in newer:
            move(f"{pushed}/{served[number]}", f"{withdrawn}/{served[number]}", SAVED_MODEL)
    except OSError as error:
        raise PipelineInputError(f"Versions in {pushed} cannot be moved: {error.strerror}.") from error
    return newer


def old_versions(pushed: str, keep: int) -> list[int]:
    """The versions, withdrawn ones as well, that are neither live nor among so many of the newest.

    One that is not whole is old: counted among the newest, it would push out a version that is served.
    """
    known = known_versions(pushed)
    whole = [version for version in known if any(map(is_whole, folders_of(pushed, version)))]
    return sorted(set(known) - {*whole[-keep:], live_version(pushed)})


def live_version(pushed: str) -> int | None:
    """The version that is served, None if there is none."""
    return max(whole_versions(pushed), default=None)


def whole_versions(folder: str) -> dict[int, str]:
    """The versions that a server would load, lowest first, with the name of each; it passes over the others."""
    return {number: name for number, name in versions(_children(folder)).items() if is_whole(f"{folder}/{name}")}


def is_whole(folder: str) -> bool:
    """Whether a version has come completely to its place: the file that servers know a model by comes last.

    Raises:
        PipelineInputError: nobody can tell.
    """
    try:
        return exists(f"{folder}/{SAVED_MODEL}")
    except OSError as error:
        raise PipelineInputError(f"{folder} cannot be read: {error.strerror or error}.") from error


def folders_of(pushed: str, version: int) -> list[str]:
    """The folders of a version: one, or two where a move between them was stopped."""
    return [
        f"{folder}/{found[version]}"
        for folder in (pushed, f"{pushed}/{WITHDRAWN}")
        if version in (found := versions(_children(folder)))
    ]


def _children(folder: str) -> list[str]:
    try:
        return children(folder)
    except OSError as error:
        raise PipelineInputError(f"{folder} cannot be read: {error.strerror}.") from error
