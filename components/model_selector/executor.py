"""Scores the candidates on the validation split and copies the best."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.model_selector.selection import Candidate, Selection, select
from components.scoring.predictions import load_predictions
from components.scoring.scores import accuracy, macro_f1
from components.trainer.description import has_description, load_description
from components.trainer.record import VALIDATION_FILE, load_training, trainings
from deepmusic_genre.errors import PipelineInputError

log = logging.getLogger("deepmusic.ModelSelector")


class Executor(BaseExecutor):
    """Executor of ModelSelector."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the selection and the selected model."""
        self._log_startup(input_dict, output_dict, exec_properties)
        selection = _selection(trainings(input_dict["model_runs"]))
        named = {load_description(model).name: model for model in filter(has_description, input_dict["models"])}
        source = named[selection.selected].uri
        io_utils.copy_dir(source, artifact_utils.get_single_uri(output_dict["model"]))
        selection.save(artifact_utils.get_single_uri(output_dict["selection"]))
        for candidate in selection.candidates if len(selection.candidates) > 1 else []:
            log.info(
                "%-10s validation accuracy %.3f, macro F1 %.3f%s",
                candidate.model,
                candidate.accuracy,
                candidate.macro_f1,
                "  selected" if candidate.model == selection.selected else "",
            )


def _selection(runs: Sequence[str]) -> Selection:
    if not runs:
        raise PipelineInputError(
            "Every model was passed over, for want of the tracks' sound: name one in training.models that needs none."
        )
    return select([_candidate(run) for run in runs])


def _candidate(run: str) -> Candidate:
    confusion = load_predictions(os.path.join(run, VALIDATION_FILE)).confusion
    return Candidate(load_training(run).model, float(accuracy(confusion)), float(macro_f1(confusion)))
