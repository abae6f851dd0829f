"""What TFMA measures, and on which slices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.answers import ANSWER, LABEL, MODEL, slice_feature
from components.evaluator.metrics import GenreMetrics


def eval_config(num_genres: int, slices: Sequence[str]) -> config_pb2.EvalConfig:
    """TFMA's configuration for the answers of any number of models, see :mod:`components.evaluator.answers`.

    Each model's answers are a slice, and each slice of the tracks is one of a model's answers.

    There are no thresholds: ModelValidator decides, with intervals.

    Args:
        num_genres: how many classes there are.
        slices: keys of :data:`components.evaluator.slices.SLICES`.
    """
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key=LABEL, prediction_key=ANSWER)],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=[MODEL]),
            *(config_pb2.SlicingSpec(feature_keys=[MODEL, slice_feature(name)]) for name in slices),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    _metric("ExampleCount"),
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
