"""Whether an artifact is still what its producer wrote."""

from __future__ import annotations

import json

from tfx.types import Artifact, standard_artifacts

from components.artifacts import CHECKSUMS_PROPERTY, DESTINATION_PROPERTY
from components.pusher.folder import WITHDRAWN
from components.storage.checksums import damage
from components.storage.files import fileio


def noted_checksums(artifact: Artifact) -> dict[str, str]:
    """The checksums of an artifact's files when it was made; none of one that was made before they were noted."""
    noted = artifact.get_string_custom_property(CHECKSUMS_PROPERTY)
    return dict(json.loads(noted)) if noted else {}


def damage_of(artifact: Artifact) -> str | None:
    """What has happened to an artifact since it was made.

    Returns:
        The file and what is wrong with it, for people; None for an artifact that is as it was, or was made before
        checksums were noted.
    """
    expected = noted_checksums(artifact)
    if expected and (found := damage(artifact.uri, expected)):
        return f"{artifact.uri} is damaged, {found}"
    destination = artifact.get_string_custom_property(DESTINATION_PROPERTY)
    if artifact.type_name != standard_artifacts.PushedModel.TYPE_NAME or not destination:
        return None
    if not fileio.exists(destination):
        pushed, _, version = destination.rpartition("/")
        return None if fileio.exists(f"{pushed}/{WITHDRAWN}/{version}") else f"{destination} was removed"
    changed = damage(destination, expected, alone=False)
    return f"{destination} is damaged, {changed}" if changed else None
