"""Copies a model to where no server looks, and gives it its number when it is whole."""

from __future__ import annotations

import os
from typing import Any

from tfx.components.pusher import executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_component_specs import PUSH_DESTINATION_KEY, PUSHED_MODEL_KEY
from tfx.utils import proto_utils

from components.places import move
from components.pusher.folder import INCOMING, SAVED_MODEL, known_versions

DESTINATION_PROPERTY = "pushed_destination"
"""Custom property of a pushed model, TFX's: its folder among the versions."""


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
        """Pushes the model if it is blessed; its number is higher than any, even of a version that was withdrawn."""
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
        version = str(max(int(os.path.basename(copied)), max(known_versions(pushed), default=0) + 1))
        place = os.path.join(pushed, version)
        move(copied, place, SAVED_MODEL)
        fileio.rmtree(incoming)
        self._MarkPushed(model, pushed_destination=place, pushed_version=version)
