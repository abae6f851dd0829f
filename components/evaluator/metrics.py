"""TFMA metrics of a classifier over genres, all derived from one confusion matrix.

TFMA's own precision, recall and F1 count a class as predicted where its probability exceeds a threshold, and its macro
average is undefined when a genre does not occur. Here a track's prediction is its most probable genre.
"""

from __future__ import annotations

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


class GenreMetrics(metric_types.Metric):
    """Macro F1, accuracy over the majority genre, and each genre's scores under its class index as sub key."""

    def __init__(self, num_genres: int, name: str = "genre_metrics") -> None:
        """Makes the metric for class indices from 0 to ``num_genres - 1``."""
        super().__init__(metric_util.merge_per_key_computations(_computations), num_genres=num_genres, name=name)


metric_types.register_metric(GenreMetrics)


def _computations(
    num_genres: int,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    del name

    def key(metric: str, genre: int | None = None) -> metric_types.MetricKey:
        sub_key = None if genre is None else metric_types.SubKey(class_id=genre)
        return metric_types.MetricKey(
            metric, model_name=model_name, output_name=output_name, sub_key=sub_key, example_weighted=example_weighted
        )

    matrices = multi_class_confusion_matrices(
        thresholds=[0.0],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    matrices_key = matrices[-1].keys[-1]
    genre_keys = {score: [key(score, genre) for genre in range(num_genres)] for score in GENRE_SCORES}

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        confusion = np.zeros((num_genres, num_genres))
        for entry, count in metrics[matrices_key][0.0].items():
            confusion[entry.actual_class_id, entry.predicted_class_id] = count
        scores = genre_scores(confusion)
        return {
            key(MACRO_F1): macro_f1(confusion),
            key(ACCURACY_OVER_MAJORITY): accuracy_over_majority(confusion),
            **{
                genre_key: float(value)
                for score, keys in genre_keys.items()
                for genre_key, value in zip(keys, scores[score], strict=True)
            },
        }

    keys = [key(MACRO_F1), key(ACCURACY_OVER_MAJORITY), *chain.from_iterable(genre_keys.values())]
    return [*matrices, metric_types.DerivedMetricComputation(keys=keys, result=result)]
