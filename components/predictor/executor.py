"""Loads each model in turn and writes down its answers."""

from __future__ import annotations

import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

from components.artifacts import TestPredictions
from components.scoring.predictions import Predictions
from components.scoring.saved_model import predict_examples
from components.scoring.tracks import track_table
from components.track_example_gen.splits import TEST
from components.trainer.description import load_description
from components.trainer.export import EXAMPLES_SIGNATURE
from components.trainer.input_pipeline import raw_examples


class Executor(BaseExecutor):
    """Executor of Predictor."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one Parquet file a model."""
        self._log_startup(input_dict, output_dict, exec_properties)
        split = artifact_utils.get_split_uri(input_dict["examples"], TEST)
        examples = raw_examples([io_utils.all_files_pattern(split)])
        tracks = track_table(examples)
        output = artifact_utils.get_single_uri(output_dict["predictions"])

        models = {load_description(model).name: model for model in input_dict["models"]}
        for model in input_dict.get("baseline_model") or []:
            models[TestPredictions.BASELINE] = model
        for name, model in models.items():
            folder = path_utils.serving_model_path(model.uri)
            probabilities = predict_examples(folder, EXAMPLES_SIGNATURE, examples)
            genres = tuple(load_description(model).genres)
            Predictions(genres, tracks, probabilities).save(os.path.join(output, f"{name}.parquet"))
