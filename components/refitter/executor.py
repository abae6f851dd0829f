"""Fits the selected model again, or hands it on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.trainer.description import enclose_evaluated, load_description
from components.trainer.record import TrainingRecord, load_training, run_of
from components.trainer.registry import MODELS
from components.trainer.run import Places, Plan, refit

log = logging.getLogger("deepmusic.Refitter")


class Executor(BaseExecutor):
    """Executor of Refitter."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes a model and what is known of its training."""
        self._log_startup(input_dict, output_dict, exec_properties)
        evaluated = artifact_utils.get_single_instance(input_dict["evaluated"])
        run = run_of(load_description(evaluated).name, input_dict["model_runs"])
        model, model_run = (artifact_utils.get_single_uri(output_dict[key]) for key in ("model", "model_run"))
        training = load_training(run)
        if MODELS[training.model].in_epochs:
            log.info("%s is not fitted again: only the validation split says when its training ends", training.model)
            io_utils.copy_dir(evaluated.uri, model)
            io_utils.copy_dir(run, model_run)
            return
        places = Places(
            artifact_utils.get_single_uri(input_dict["transform_graph"]),
            path_utils.serving_model_path(model),
            model_run,
        )
        plan = _plan(training, load_description(evaluated).genres, exec_properties)
        refitted = refit(plan, places, artifact_utils.get_single_uri(input_dict["examples"]))
        if exec_properties["encloses_evaluated"]:
            enclose_evaluated(path_utils.serving_model_path(evaluated.uri), places.model)
        log.info("%s has learned from all tracks: %s", training.model, _in_words(refitted.learned_from))


def _plan(training: TrainingRecord, genres: list[str], given: Mapping[str, Any]) -> Plan:
    return Plan(
        model=training.model,
        genres=genres,
        hyperparameters=training.hyperparameters,
        balance=given["balance"],
        seed=training.seed,
        sure_accuracy=given["sure_accuracy"],
    )


def _in_words(learned_from: Mapping[str, int]) -> str:
    return ", ".join(f"{tracks:,} of {split}" for split, tracks in learned_from.items())
