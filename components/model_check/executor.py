"""Checks a model and writes the blessing."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import path_utils

from components.model_check.check import check_model
from components.storage.files import fileio
from components.trainer.description import load_description
from components.trainer.record import run_of
from components.trainer.reference import load_reference

FAULTS_FILE = "faults.txt"

_BLESSED_PROPERTY = "blessed"
"""What Pusher asks an InfraBlessing for."""

log = logging.getLogger("deepmusic.ModelCheck")


class Executor(BaseExecutor):
    """Executor of ModelCheck."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses a model without faults; never fails because of the model."""
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        examples, expected = load_reference(run_of(load_description(model).name, input_dict["model_runs"]))
        faults = check_model(
            path_utils.serving_model_path(model.uri), examples, expected, json.loads(exec_properties["genres"])
        )
        _write_blessing(artifact_utils.get_single_instance(output_dict["blessing"]), faults)
        for fault in faults:
            log.error("the model cannot be served: %s", fault)
        if not faults:
            log.info("every signature answers as the trainer did, on %d tracks", len(examples))


def _write_blessing(blessing: Artifact, faults: list[str]) -> None:
    blessing.set_int_custom_property(_BLESSED_PROPERTY, int(not faults))
    with fileio.open(os.path.join(blessing.uri, FAULTS_FILE), "w") as file:
        file.write("".join(f"{fault}\n" for fault in faults))


def read_faults(uri: str) -> list[str]:
    """The faults in a blessing's folder; none for a model that can be served."""
    with fileio.open(os.path.join(uri, FAULTS_FILE)) as file:
        return str(file.read()).splitlines()
