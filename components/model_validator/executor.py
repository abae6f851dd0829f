"""Judges a model and writes the verdict and the blessing."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils

from components.artifacts import TestPredictions
from components.model_validator.judgement import judge
from components.model_validator.limits import Limits
from components.model_validator.verdict import Check
from components.scoring.predictions import load_predictions
from components.storage.files import fileio
from components.trainer.description import has_description, load_description

_DEAF = Check(
    "change of accuracy",
    *(None, None, None),
    "sound of test tracks, as the latest blessed model listens; to push a model that does not, run under another name",
    passed=False,
)
"""A model that hears nothing does not take the place of one that does because there is nothing to compare them on."""


class Executor(BaseExecutor):
    """Executor of ModelValidator."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses a model that passes every check; never fails because of the model."""
        self._log_startup(input_dict, output_dict, exec_properties)
        predictions = artifact_utils.get_single_uri(input_dict["predictions"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        baselines = input_dict.get("baseline_model") or []
        baseline_file = os.path.join(predictions, f"{TestPredictions.BASELINE}.parquet")
        name = load_description(model).name
        answers = load_predictions(os.path.join(predictions, f"{name}.parquet"))
        limits = Limits.model_validate_json(exec_properties["limits"])
        compared = [load_description(model) for model in baselines if has_description(model)]
        if compared and fileio.exists(baseline_file):
            verdict = judge((name, answers), (compared[0].name, load_predictions(baseline_file)), limits)
        else:
            verdict = judge((name, answers), None, limits)
            if compared and compared[0].listens:
                verdict = msgspec.structs.replace(verdict, checks=[*verdict.checks, _DEAF])
        verdict.save(artifact_utils.get_single_uri(output_dict["verdict"]))
        _bless(artifact_utils.get_single_instance(output_dict["blessing"]), model, verdict.blessed)


def _bless(blessing: Artifact, model: Artifact, blessed: bool) -> None:
    """Writes what TFX's Evaluator would: Pusher and the resolver of the latest blessed model read it."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    value, file_name = (
        (constants.BLESSED_VALUE, constants.BLESSED_FILE_NAME)
        if blessed
        else (constants.NOT_BLESSED_VALUE, constants.NOT_BLESSED_FILE_NAME)
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    with fileio.open(os.path.join(blessing.uri, file_name), "w") as file:
        file.write("")
