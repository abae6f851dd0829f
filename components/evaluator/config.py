"""What TFMA measures, and on which slices."""

from __future__ import annotations

import json
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.metrics import GenreMetrics
from components.trainer.export import EVALUATION_SIGNATURE, EXAMPLES_SIGNATURE, LENGTH
from components.transform.preprocessing import GENRE_INDEX

ACCURACY = "accuracy"
SLICES = ("genre", "source", LENGTH)
"""Features whose values are slices of their own, beside the split as a whole."""


def eval_config(num_genres: int) -> config_pb2.EvalConfig:
    """TFMA's configuration.

    There are no thresholds: ModelValidator decides, with intervals.
    """
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=EXAMPLES_SIGNATURE,
                preprocessing_function_names=[EVALUATION_SIGNATURE],
                label_key=GENRE_INDEX,
                prediction_key="probabilities",
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=[key]) for key in SLICES)],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    _metric("ExampleCount"),
                    _metric("SparseCategoricalAccuracy", name=ACCURACY),
                    _metric("MultiClassConfusionMatrixAtThresholds", thresholds=[0.0]),
                    _metric(GenreMetrics, num_genres=num_genres),
                ]
            )
        ],
    )


def _metric(of: str | type, **config: Any) -> config_pb2.MetricConfig:
    """One of TFMA's metrics by name, or one of ours."""
    name, module = (of, "") if isinstance(of, str) else (of.__name__, of.__module__)
    return config_pb2.MetricConfig(class_name=name, module=module, config=json.dumps(config))
