"""Sampler: the original project's samplings against imbalance."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.sampler.executor import Executor
from components.sampler.sampling import Sampling


class SamplerSpec(ComponentSpec):
    """Inputs, outputs and properties of :class:`Sampler`."""

    PARAMETERS = {
        "sampling": ExecutionParameter(type=str),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"sampled_examples": ChannelParameter(type=standard_artifacts.Examples)}


class Sampler(BaseComponent):
    """Leaves tracks out until every genre is as frequent as the rarest.

    Outputs:
        sampled_examples: the same splits with fewer tracks.
    """

    SPEC_CLASS = SamplerSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, examples: BaseChannel, sampling: Sampling) -> None:
        """Constructs the component.

        Args:
            examples: TrackExampleGen's.
            sampling: which splits are sampled.
        """
        super().__init__(
            spec=SamplerSpec(
                examples=examples,
                sampling=sampling,
                sampled_examples=Channel(type=standard_artifacts.Examples),
            )
        )
