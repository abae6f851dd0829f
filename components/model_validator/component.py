"""ModelValidator: blesses a model that is good enough."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import ModelVerdict, TestPredictions
from components.model_validator.executor import Executor
from components.model_validator.limits import Limits


class ModelValidatorSpec(ComponentSpec):
    """Inputs, outputs and properties of :class:`ModelValidator`."""

    PARAMETERS = {
        "limits": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "predictions": ChannelParameter(type=TestPredictions),
    }
    OUTPUTS = {
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "verdict": ChannelParameter(type=ModelVerdict),
    }


class ModelValidator(BaseComponent):
    """Blesses a model by its answers to the test split, compared with limits and with the latest blessed model's.

    TFMA's own thresholds know no interval: with a few hundred tracks, they would let noise decide.

    Outputs:
        blessing: a ModelBlessing that Pusher obeys.
        verdict: every check, with its value and its interval.
    """

    SPEC_CLASS = ModelValidatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: BaseChannel,
        baseline_model: BaseChannel,
        predictions: BaseChannel,
        limits: Limits,
    ) -> None:
        """Constructs the component.

        Args:
            model: the selected model.
            baseline_model: the latest blessed model, if there is one.
            predictions: both models' answers to the test split.
            limits: what a model has to reach.
        """
        super().__init__(
            spec=ModelValidatorSpec(
                model=model,
                baseline_model=baseline_model,
                predictions=predictions,
                limits=limits.model_dump_json(),
                blessing=Channel(type=standard_artifacts.ModelBlessing),
                verdict=Channel(type=ModelVerdict),
            )
        )
