"""Predictor: what every model answers to the test split."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import TestPredictions
from components.predictor.executor import Executor


class PredictorSpec(ComponentSpec):
    """Inputs and outputs of :class:`Predictor`."""

    PARAMETERS = {"slices": ExecutionParameter(type=str)}
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "models": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "predictions": ChannelParameter(type=TestPredictions),
        "answers": ChannelParameter(type=standard_artifacts.Examples),
    }


class Predictor(BaseComponent):
    """Keeps what models answer to each track of the test split, loaded as TF Serving loads them.

    TFX's BulkInferrer keeps the whole input beside each answer, and takes one model.

    Outputs:
        predictions: the candidates', and the baseline's to the same tracks.
        answers: the same for the Evaluator, see :mod:`components.evaluator.answers`.
    """

    SPEC_CLASS = PredictorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self, examples: BaseChannel, models: BaseChannel, baseline_model: BaseChannel, slices: Sequence[str]
    ) -> None:
        """Constructs the component.

        Args:
            examples: with a test split.
            models: the candidates.
            baseline_model: the latest blessed model, if there is one.
            slices: keys of :data:`components.evaluator.slices.SLICES`.
        """
        super().__init__(
            spec=PredictorSpec(
                examples=examples,
                models=models,
                baseline_model=baseline_model,
                slices=json.dumps(list(slices)),
                predictions=Channel(type=TestPredictions),
                answers=Channel(type=standard_artifacts.Examples),
            )
        )
