"""ModelCheck: what InfraValidator does, without Docker."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.model_check.executor import Executor


class ModelCheckSpec(ComponentSpec):
    """Inputs, outputs and properties of :class:`ModelCheck`."""

    PARAMETERS = {
        "genres": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_runs": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ModelCheck(BaseComponent):
    """Loads a model through a TF1 session, as TF Serving does, and runs every signature on real tracks.

    TFX's InfraValidator starts TF Serving in Docker or Kubernetes; this needs neither.

    Outputs:
        blessing: an InfraBlessing that Pusher obeys, with the faults in ``faults.txt`` where there are any.
    """

    SPEC_CLASS = ModelCheckSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, model: BaseChannel, model_runs: BaseChannel, genres: Sequence[str]) -> None:
        """Constructs the component.

        Args:
            model: the selected model.
            model_runs: every Trainer's run; the selected model's holds the trainer's own predictions.
            genres: names in the order of the class index.
        """
        super().__init__(
            spec=ModelCheckSpec(
                model=model,
                model_runs=model_runs,
                genres=json.dumps(list(genres)),
                blessing=Channel(type=standard_artifacts.InfraBlessing),
            )
        )
