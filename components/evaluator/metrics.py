"""TFMA metrics of a classifier over genres, all derived from one confusion matrix.

TFMA's own precision, recall and F1 count a class as predicted where its probability exceeds a threshold, and its macro
average is undefined when a genre does not occur. Here a track's prediction is its most probable genre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import multi_class_confusion_matrices
from tensorflow_model_analysis.proto import config_pb2

Confusion = npt.NDArray[np.float64]
"""Tracks by genre ``[actual, predicted]``."""

MACRO_F1 = "macro_f1"
ACCURACY_OVER_MAJORITY = "accuracy_over_majority"
GENRE_SCORES = ("support", "precision", "recall", "f1")


def genre_scores(confusion: Confusion) -> dict[str, npt.NDArray[np.float64]]:
    """Scores of each genre.

    Args:
        confusion: shape ``[genres, genres]``, actual by predicted.

    Returns:
        ``support`` (tracks), ``precision``, ``recall`` and ``f1`` (0..1), each of shape ``[genres]``. A score whose
        denominator is zero is NaN: precision of a genre never predicted, recall and F1 of one without tracks.
    """
    hits = np.diag(confusion)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "support": support,
            "precision": hits / predicted,
            "recall": hits / support,
            "f1": np.where(support > 0, 2 * hits / (support + predicted), np.nan),
        }


def macro_f1(confusion: Confusion) -> float:
    """Mean F1 over the genres that occur, 0..1; NaN where none does."""
    scores = genre_scores(confusion)
    occurring = scores["f1"][scores["support"] > 0]
    return float(occurring.mean()) if len(occurring) else float("nan")


def accuracy_over_majority(confusion: Confusion) -> float:
    """Accuracy minus the share of the most frequent genre: what always answering that genre would reach, -1..1."""
    total = confusion.sum()
    return float((np.trace(confusion) - confusion.sum(axis=1).max()) / total) if total else float("nan")


class AccuracyOverMajority(metric_types.Metric):
    """See :func:`accuracy_over_majority`. A metric of its own, since a model is blessed by it."""

    def __init__(self, num_genres: int, code_version: str, name: str = ACCURACY_OVER_MAJORITY) -> None:
        """Makes the metric for class indices from 0 to ``num_genres - 1``; a new code version is a new metric."""
        super().__init__(
            metric_util.merge_per_key_computations(_majority),
            num_genres=num_genres,
            code_version=code_version,
            name=name,
        )


class GenreMetrics(metric_types.Metric):
    """Macro F1, and each genre's scores under its class index as sub key."""

    def __init__(self, num_genres: int, code_version: str, name: str = MACRO_F1) -> None:
        """Makes the metric for class indices from 0 to ``num_genres - 1``; a new code version is a new metric."""
        super().__init__(
            metric_util.merge_per_key_computations(_genres),
            num_genres=num_genres,
            code_version=code_version,
            name=name,
        )


for _metric in (AccuracyOverMajority, GenreMetrics):
    metric_types.register_metric(_metric)

_Keyed = dict[metric_types.MetricKey, float]


def _majority(
    num_genres: int,
    code_version: str,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    del code_version
    context = _Context(eval_config, model_name, output_name, example_weighted)
    key = context.key(name)
    return context.from_confusion(num_genres, [key], lambda confusion: {key: accuracy_over_majority(confusion)})


def _genres(
    num_genres: int,
    code_version: str,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    del code_version
    context = _Context(eval_config, model_name, output_name, example_weighted)
    key = context.key(name)
    genre_keys = {score: [context.key(score, genre) for genre in range(num_genres)] for score in GENRE_SCORES}

    def result(confusion: Confusion) -> _Keyed:
        scores = genre_scores(confusion)
        keyed = {
            genre_key: float(value)
            for score, keys in genre_keys.items()
            for genre_key, value in zip(keys, scores[score], strict=True)
        }
        return {key: macro_f1(confusion), **keyed}

    return context.from_confusion(num_genres, [key, *chain.from_iterable(genre_keys.values())], result)


@dataclass(frozen=True)
class _Context:
    """What TFMA tells a metric of the model that it is computed for."""

    eval_config: config_pb2.EvalConfig | None
    model_name: str
    output_name: str
    example_weighted: bool

    def key(self, name: str, genre: int | None = None) -> metric_types.MetricKey:
        return metric_types.MetricKey(
            name,
            model_name=self.model_name,
            output_name=self.output_name,
            sub_key=None if genre is None else metric_types.SubKey(class_id=genre),
            example_weighted=self.example_weighted,
        )

    def from_confusion(
        self, num_genres: int, keys: list[metric_types.MetricKey], result: Callable[[Confusion], _Keyed]
    ) -> metric_types.MetricComputations:
        matrices = multi_class_confusion_matrices(
            thresholds=[0.0],
            eval_config=self.eval_config,
            model_name=self.model_name,
            output_name=self.output_name,
            example_weighted=self.example_weighted,
        )
        matrices_key = matrices[-1].keys[-1]

        def derived(metrics: dict[metric_types.MetricKey, Any]) -> _Keyed:
            confusion = np.zeros((num_genres, num_genres))
            for entry, count in metrics[matrices_key][0.0].items():
                confusion[entry.actual_class_id, entry.predicted_class_id] = count
            return result(confusion)

        return [*matrices, metric_types.DerivedMetricComputation(keys=keys, result=derived)]
