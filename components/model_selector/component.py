"""ModelSelector: one of several candidates."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import ModelSelection
from components.model_selector.executor import Executor


class ModelSelectorSpec(ComponentSpec):
    """Inputs and outputs of :class:`ModelSelector`."""

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {
        "models": ChannelParameter(type=standard_artifacts.Model),
        "model_runs": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "selection": ChannelParameter(type=ModelSelection),
    }


class ModelSelector(BaseComponent):
    """Takes the candidate with the highest macro F1 on the validation split; the test split is not looked at.

    Outputs:
        model: a copy of the best candidate, which is what gets blessed and pushed.
        selection: all candidates' scores.
    """

    SPEC_CLASS = ModelSelectorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, models: BaseChannel, model_runs: BaseChannel) -> None:
        """Constructs the component.

        Args:
            models: the candidates.
            model_runs: of the same trainings, with their answers to the validation split.
        """
        super().__init__(
            spec=ModelSelectorSpec(
                models=models,
                model_runs=model_runs,
                model=Channel(type=standard_artifacts.Model),
                selection=Channel(type=ModelSelection),
            )
        )
