"""A TFMA metric of a classifier over genres, derived from its confusion matrix.

TFMA's own precision, recall and F1 count a class as predicted where its probability exceeds a threshold, and its macro
average is undefined when a genre does not occur. Here a track's prediction is its most probable genre.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import multi_class_confusion_matrices
from tensorflow_model_analysis.proto import config_pb2

from components.scoring.scores import GENRE_SCORES, accuracy, genre_scores, macro_f1

ACCURACY = "accuracy"
MACRO_F1 = "macro_f1"


class GenreMetrics(metric_types.Metric):
    """Macro F1, accuracy, and each genre's scores under its class index as sub key.

    TFMA's own accuracy is Keras's, which takes seconds for what is in the matrix already.
    """

    def __init__(self, num_genres: int, name: str = MACRO_F1) -> None:
        """Makes the metric for class indices from 0 to ``num_genres - 1``."""
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            num_genres=num_genres,
            name=name,
        )


metric_types.register_metric(GenreMetrics)


def _computations(
    num_genres: int,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    def key(of: str, genre: int | None = None) -> metric_types.MetricKey:
        return metric_types.MetricKey(
            of,
            model_name=model_name,
            output_name=output_name,
            sub_key=None if genre is None else metric_types.SubKey(class_id=genre),
            example_weighted=example_weighted,
        )

    matrices = multi_class_confusion_matrices(
        thresholds=[0.0],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        example_weighted=example_weighted,
    )
    matrices_key = matrices[-1].keys[-1]

    def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        confusion = np.zeros((num_genres, num_genres))
        for entry, count in metrics[matrices_key][0.0].items():
            confusion[entry.actual_class_id, entry.predicted_class_id] = count
        scores = genre_scores(confusion)
        by_genre = {
            key(score, genre): float(value) for score in GENRE_SCORES for genre, value in enumerate(scores[score])
        }
        return {key(name): float(macro_f1(confusion)), key(ACCURACY): float(accuracy(confusion)), **by_genre}

    keys = [key(name), key(ACCURACY), *(key(score, genre) for score in GENRE_SCORES for genre in range(num_genres))]
    return [*matrices, metric_types.DerivedMetricComputation(keys=keys, result=result)]
