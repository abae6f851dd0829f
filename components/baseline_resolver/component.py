"""PushedBaseline: the baseline for runners that cannot look artifacts up in ML Metadata."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.baseline_resolver.executor import Executor


class PushedBaselineSpec(ComponentSpec):
    """Inputs, outputs and properties of :class:`PushedBaseline`."""

    PARAMETERS = {
        "push_folder": ExecutionParameter(type=str),
    }
    INPUTS = {"candidate": ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}


class PushedBaseline(BaseComponent):
    """Takes the latest pushed version for the latest blessed model.

    Only blessed models are pushed, and where they are every runner knows. Its answer must not come from a cache: what
    was pushed since is none of its inputs.

    Outputs:
        model: a copy of the version; empty if there is none to compare with.
    """

    SPEC_CLASS = PushedBaselineSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, candidate: BaseChannel, push_folder: str) -> None:
        """Constructs the component.

        Args:
            candidate: the model that is to be compared.
            push_folder: where versions of the model are.
        """
        super().__init__(
            spec=PushedBaselineSpec(
                candidate=candidate,
                push_folder=push_folder,
                model=Channel(type=standard_artifacts.Model),
            )
        )
