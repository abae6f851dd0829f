"""Looks through the pushed versions and copies the baseline."""

from __future__ import annotations

import logging
import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.pusher.folder import is_whole, versions
from components.storage.files import fileio
from components.trainer.description import evaluated_in, is_described, read_description

_WEIGHTS = os.path.join("variables", "variables.data-00000-of-00001")

log = logging.getLogger("deepmusic.BaselineResolver")


class Executor(BaseExecutor):
    """Executor of PushedBaseline."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the latest version that the candidate can be compared with, if there is one."""
        self._log_startup(input_dict, output_dict, exec_properties)
        candidate = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["candidate"]))
        baseline = find_baseline(candidate, exec_properties["push_folder"])
        if baseline is None:
            log.info("no earlier version to compare with")
            return
        # The version itself may have learned from the tracks that the candidate is compared by.
        model = path_utils.serving_model_path(artifact_utils.get_single_uri(output_dict["model"]))
        io_utils.copy_dir(evaluated_in(baseline), model)
        log.info("version %s is the baseline", os.path.basename(baseline))


def find_baseline(candidate: str, push_folder: str) -> str | None:
    """The folder of the latest pushed version with the candidate's genres and analysers.

    A version with the candidate's own weights is passed over: where a run is repeated, a model would be compared with
    itself. So is one that is not whole.

    Args:
        candidate: the folder of its SavedModel.
        push_folder: where versions are; need not be there.
    """
    own = read_description(candidate)
    names = [name.rstrip("/") for name in fileio.listdir(push_folder)] if fileio.exists(push_folder) else []
    for name in reversed(versions(names).values()):
        version = os.path.join(push_folder, name)
        if not is_whole(version) or not is_described(version):
            continue
        evaluated = evaluated_in(version)
        if read_description(evaluated).comparable_with(own) and _weights(evaluated) != _weights(candidate):
            return version
    return None


def _weights(folder: str) -> bytes:
    with fileio.open(os.path.join(folder, _WEIGHTS), "rb") as file:
        return bytes(file.read())
