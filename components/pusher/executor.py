"""Copies a model to where no server looks, and gives it its number when it is whole."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_component_specs import PUSH_DESTINATION_KEY, PUSHED_MODEL_KEY
from tfx.utils import proto_utils

from components.artifacts import DESTINATION_PROPERTY
from components.pusher.folder import INCOMING, SAVED_MODEL, known_versions, live_version
from components.storage.files import fileio
from components.storage.places import move


class Executor(executor.Executor):
    """Executor of Pusher.

    TFX's copies file after file into the version's folder: a server that looks in between takes it for a broken
    version, and TF Serving tries that again only after a minute.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed and not the live version already.

        Its number is higher than any, even of a version that was withdrawn.
        """
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[PUSH_DESTINATION_KEY], destination)
        pushed = destination.filesystem.base_directory
        destination.filesystem.base_directory = incoming = os.path.join(pushed, INCOMING)
        if fileio.exists(incoming):
            fileio.rmtree(incoming)
        staged = {**exec_properties, PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination)}
        super().Do(input_dict, output_dict, staged)
        model = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        copied = model.get_string_custom_property(DESTINATION_PROPERTY)
        if not copied:
            return
        live = live_version(pushed)
        # An execution that was killed between the version's getting its number and the note of it is made again.
        if live is not None and _equal(copied, os.path.join(pushed, str(live))):
            place = os.path.join(pushed, str(live))
        else:
            highest = max(known_versions(pushed), default=0)
            place = os.path.join(pushed, str(max(int(os.path.basename(copied)), highest + 1)))
            move(copied, place, SAVED_MODEL)
        fileio.rmtree(incoming)
        self._MarkPushed(model, pushed_destination=place, pushed_version=os.path.basename(place))


def _equal(model: str, other: str) -> bool:
    """Whether two folders hold the same files; no two exports of one network do."""
    graphs = [os.path.join(folder, SAVED_MODEL) for folder in (model, other)]
    # The graph first: where that differs, the weights need not be read, from a remote file system least of all.
    if not all(map(fileio.exists, graphs)) or _digest(graphs[0]) != _digest(graphs[1]):
        return False
    return _digests(model) == _digests(other)


def _digests(folder: str) -> dict[str, str]:
    files = [os.path.join(place, name) for place, _, names in fileio.walk(folder) for name in names]
    return {os.path.relpath(file, folder): _digest(file) for file in files}


def _digest(file: str) -> str:
    with fileio.open(file, "rb") as stream:
        return hashlib.blake2b(stream.read()).hexdigest()
