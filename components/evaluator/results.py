"""The Evaluator's result as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2

from components.evaluator.config import ACCURACY
from components.evaluator.metrics import ACCURACY_OVER_MAJORITY, GENRE_SCORES, MACRO_F1


@dataclass(frozen=True)
class GenreResult:
    """One genre's scores on the test split; NaN where a score is undefined."""

    genre: str
    support: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class EvaluationResult:
    """A model's scores on the test split, 0..1.

    Attributes:
        macro_f1: the mean over the genres that occur in the split.
        majority_share: accuracy of always answering the most frequent genre.
        failures: thresholds that were missed, a line each; empty for a blessed model.
    """

    genres: tuple[GenreResult, ...]
    accuracy: float
    macro_f1: float
    majority_share: float
    failures: tuple[str, ...]


def load_result(uri: str, genres: Sequence[str]) -> EvaluationResult:
    """Reads what TFMA wrote to ``uri``; ``genres`` are names in the order of the class index."""
    by_sub_key = dict(tfma.load_eval_result(uri).slicing_metrics)[()][""]
    overall = {name: value["doubleValue"] for name, value in by_sub_key[""].items() if "doubleValue" in value}
    rows = []
    for index, genre in enumerate(genres):
        metrics = by_sub_key[f"classId:{index}"]
        support, precision, recall, f1 = (float(metrics[name]["doubleValue"]) for name in GENRE_SCORES)
        rows.append(GenreResult(genre, int(support), precision, recall, f1))
    accuracy = overall[ACCURACY]
    return EvaluationResult(
        tuple(rows),
        accuracy,
        overall[MACRO_F1],
        accuracy - overall[ACCURACY_OVER_MAJORITY],
        tuple(map(_explain, _failures(uri))),
    )


def _failures(uri: str) -> list[validation_result_pb2.ValidationFailure]:
    slices = tfma.load_validation_result(uri).metric_validations_per_slice
    return [failure for found in slices for failure in found.failures]


def _explain(failure: validation_result_pb2.ValidationFailure) -> str:
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    if failure.message:
        return f"{name}: {failure.message}"
    if failure.metric_key.is_diff:
        allowed = -failure.metric_threshold.change_threshold.absolute.value
        return f"{name} is {-value:.3f} below the latest blessed model's, at most {allowed:g} is allowed"
    return "accuracy does not exceed what always answering the most frequent genre reaches"
