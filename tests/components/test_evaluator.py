"""What TFMA says against what the exported model answers."""

from typing import Any

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from components.evaluator.config import ACCURACY, SLICES
from components.evaluator.metrics import MACRO_F1
from components.scoring.predictions import Predictions, load_predictions
from components.scoring.scores import accuracy, confusion_matrix, genre_scores, macro_f1
from tests.conftest import FinishedRun

Slices = dict[Any, dict[str, Any]]


@pytest.fixture
def predictions(finished_run: FinishedRun) -> Predictions:
    return load_predictions(str(finished_run.artifact("Predictor", "predictions") / "c1m1.parquet"))


@pytest.fixture
def slices(finished_run: FinishedRun) -> Slices:
    result = tfma.load_eval_result(str(finished_run.artifact("Evaluator-c1m1", "evaluation")))
    return {key: by_output[""] for key, by_output in result.slicing_metrics}


def test_tfma_scores_what_the_exported_model_answers(slices: Slices, predictions: Predictions) -> None:
    overall = slices[()]
    assert overall[""][ACCURACY]["doubleValue"] == pytest.approx(float(accuracy(predictions.confusion)))
    assert overall[""][MACRO_F1]["doubleValue"] == pytest.approx(float(macro_f1(predictions.confusion)))
    for name, expected in genre_scores(predictions.confusion).items():
        found = [float(overall[f"classId:{genre}"][name]["doubleValue"]) for genre in range(len(predictions.genres))]
        np.testing.assert_allclose(found, expected, err_msg=name)


def test_tfma_slices_by_genre_source_and_length(slices: Slices, predictions: Predictions) -> None:
    assert {feature for key in slices for feature, _ in key} == set(SLICES)
    segments = np.array(predictions.tracks["num_segments"])
    rows = (segments < 300).nonzero()[0]
    short = slices[(("length", "0 to 299 segments"),)][""]
    assert short["example_count"]["doubleValue"] == len(rows)
    part = confusion_matrix(predictions.actual[rows], predictions.predicted[rows], len(predictions.genres))
    assert short[ACCURACY]["doubleValue"] == pytest.approx(float(accuracy(part)))
