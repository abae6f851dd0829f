"""What is measured, on which slices, and what a model has to reach to be blessed."""

from __future__ import annotations

import json
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.metrics import AccuracyOverMajority, GenreMetrics
from components.trainer.export import EXAMPLES_SIGNATURE, TRANSFORM_SIGNATURE
from components.transform.preprocessing import LABEL

ACCURACY = "accuracy"

_BETTER_THAN_NOTHING = 1e-6


def eval_config(num_genres: int, max_accuracy_drop: float, code_version: str) -> config_pb2.EvalConfig:
    """TFMA's configuration.

    A model is blessed when, over the whole test split, its accuracy exceeds the share of the most frequent genre, and
    stays within ``max_accuracy_drop`` (0..1) of the latest blessed model's. A threshold on every slice would let one
    small genre decide. The code version of our metrics is part of it, so that the Evaluator's cache sees them change.
    """
    ours = {"num_genres": num_genres, "code_version": code_version}
    better_than_nothing = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": _BETTER_THAN_NOTHING})
    )
    within_reach = config_pb2.MetricThreshold(
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -max_accuracy_drop}
        )
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=EXAMPLES_SIGNATURE,
                preprocessing_function_names=[TRANSFORM_SIGNATURE],
                label_key=LABEL,
                prediction_key="probabilities",
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["genre"])],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    _metric("ExampleCount"),
                    _metric("SparseCategoricalAccuracy", within_reach, name=ACCURACY),
                    _metric("MultiClassConfusionMatrixAtThresholds", thresholds=[0.0]),
                    _metric(AccuracyOverMajority, better_than_nothing, **ours),
                    _metric(GenreMetrics, **ours),
                ]
            )
        ],
    )


def _metric(
    of: str | type, threshold: config_pb2.MetricThreshold | None = None, **config: Any
) -> config_pb2.MetricConfig:
    """One of TFMA's metrics by name, or one of ours; the threshold is for the overall slice."""
    name, module = (of, "") if isinstance(of, str) else (of.__name__, of.__module__)
    return config_pb2.MetricConfig(
        class_name=name,
        module=module,
        config=json.dumps(config),
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
        ]
        if threshold
        else [],
    )
