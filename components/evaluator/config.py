"""What is measured, on which slices, and what a model has to reach to be blessed."""

from __future__ import annotations

import json

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.metrics import ACCURACY_OVER_MAJORITY, GenreMetrics
from components.trainer.export import EXAMPLES_SIGNATURE, TRANSFORM_SIGNATURE
from components.transform.preprocessing import LABEL

ACCURACY = "accuracy"
CONFUSION_MATRIX = "multi_class_confusion_matrix_at_thresholds"

_BETTER_THAN_NOTHING = 1e-6


def eval_config(num_genres: int, max_accuracy_drop: float) -> config_pb2.EvalConfig:
    """TFMA's configuration.

    A model is blessed when, over the whole test split, its accuracy exceeds the share of the most frequent genre, and
    stays within ``max_accuracy_drop`` (0..1) of the latest blessed model's. A threshold on every slice would let one
    small genre decide.
    """
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
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    config_pb2.MetricConfig(
                        class_name="SparseCategoricalAccuracy", config=json.dumps({"name": ACCURACY})
                    ),
                    config_pb2.MetricConfig(
                        class_name="MultiClassConfusionMatrixAtThresholds", config=json.dumps({"thresholds": [0.0]})
                    ),
                    config_pb2.MetricConfig(
                        class_name=GenreMetrics.__name__,
                        module=GenreMetrics.__module__,
                        config=json.dumps({"num_genres": num_genres}),
                    ),
                ],
                per_slice_thresholds={
                    ACCURACY_OVER_MAJORITY: _overall(
                        config_pb2.MetricThreshold(
                            value_threshold=config_pb2.GenericValueThreshold(
                                lower_bound={"value": _BETTER_THAN_NOTHING}
                            )
                        )
                    ),
                    ACCURACY: _overall(
                        config_pb2.MetricThreshold(
                            change_threshold=config_pb2.GenericChangeThreshold(
                                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                                absolute={"value": -max_accuracy_drop},
                            )
                        )
                    ),
                },
            )
        ],
    )


def _overall(threshold: config_pb2.MetricThreshold) -> config_pb2.PerSliceMetricThresholds:
    return config_pb2.PerSliceMetricThresholds(
        thresholds=[
            config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
        ]
    )
