"""Loads each model in turn and writes down its answers."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.artifacts import TestPredictions
from components.evaluator.answers import write_answers
from components.scoring.predictions import Predictions, require_finite
from components.scoring.saved_model import predict_examples
from components.scoring.tracks import track_table
from components.track_example_gen.splits import TEST
from components.trainer.description import has_description, load_description, not_trained_on
from components.trainer.export import EXAMPLES_SIGNATURE
from components.trainer.input_pipeline import raw_examples

log = logging.getLogger("deepmusic.Predictor")


class Executor(BaseExecutor):
    """Executor of Predictor."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one Parquet file a model, and all answers as examples."""
        self._log_startup(input_dict, output_dict, exec_properties)
        split = artifact_utils.get_split_uri(input_dict["examples"], TEST)
        examples = raw_examples([io_utils.all_files_pattern(split)])
        tracks = track_table(examples)
        output = artifact_utils.get_single_uri(output_dict["predictions"])

        models = {load_description(model).name: model for model in filter(has_description, input_dict["models"])}
        # A runner that hands on an artifact in any case hands on an empty one.
        for model in filter(has_description, input_dict.get("baseline_model") or []):
            models[TestPredictions.BASELINE] = model
        answers = {}
        for name, model in models.items():
            folder = path_utils.serving_model_path(model.uri)
            description = load_description(model)
            probabilities = predict_examples(folder, EXAMPLES_SIGNATURE, examples)
            predictions = Predictions(tuple(description.genres), tracks, probabilities)
            if name == TestPredictions.BASELINE:
                predictions = _unknown_to(model, _answered(predictions) if description.listens else predictions)
            require_finite(predictions.probabilities, name)
            if len(predictions.probabilities):
                predictions.save(os.path.join(output, f"{name}.parquet"))
                answers[name] = predictions
        slices = json.loads(exec_properties["slices"])
        write_answers(artifact_utils.get_single_instance(output_dict["answers"]), answers, slices)


def _answered(predictions: Predictions) -> Predictions:
    """Those of a baseline that listens: it has no answer to a track without sound."""
    answered = predictions.answered
    tracks, left = len(predictions.probabilities), len(answered.probabilities)
    if left < tracks:
        log.warning(
            "the latest blessed model listens to sound, and %d of the %d test tracks have none; it is compared on %d",
            *(tracks - left, tracks, left),
        )
    return answered


def _unknown_to(baseline: Artifact, predictions: Predictions) -> Predictions:
    """The answers to tracks that the baseline was not trained on: artists or labels may have been put right since."""
    unknown = predictions.only(not_trained_on(baseline, predictions.tracks["track_id"].to_pylist()))
    tracks, left = len(predictions.probabilities), len(unknown.probabilities)
    if left < tracks:
        log.info(
            "the latest blessed model was trained on %d of the %d test tracks; it is compared on the other %d",
            *(tracks - left, tracks, left),
        )
    return unknown
