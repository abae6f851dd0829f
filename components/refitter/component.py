"""Refitter: what is pushed has learned from every track."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.refitter.executor import Executor
from components.trainer.hyperparameters import Balance


class RefitterSpec(ComponentSpec):
    """Inputs, parameters and outputs of :class:`Refitter`."""

    PARAMETERS = {
        "balance": ExecutionParameter(type=str),
        "sure_accuracy": ExecutionParameter(type=float),
        "encloses_evaluated": ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph),
        "evaluated": ChannelParameter(type=standard_artifacts.Model),
        "model_runs": ChannelParameter(type=standard_artifacts.ModelRun),
    }
    OUTPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Refitter(BaseComponent):
    """Fits the selected model again, to the tracks of all splits, to be pushed if the selected one is blessed.

    The evaluated model stays what later ones are compared with: it has not learned from the test split. A network is
    handed on as it is, since the validation split says when its training ends. The blessing is no input: another limit
    or slice would make the same model once more, and push it as a new version.

    Outputs:
        model: what is checked and pushed.
        model_run: what is known of its training, with its answers to some tracks.
    """

    SPEC_CLASS = RefitterSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        transform_graph: BaseChannel,
        evaluated: BaseChannel,
        model_runs: BaseChannel,
        balance: Balance,
        sure_accuracy: float,
        encloses_evaluated: bool,
    ) -> None:
        """Constructs the component.

        Args:
            examples: of all splits.
            transform_graph: Transform's, as for the evaluated model.
            evaluated: the selected model.
            model_runs: every Trainer's run; the selected model's has its hyper-parameters.
            balance: what is done about rare genres.
            sure_accuracy: how often an answer that is called sure has to be right, 0..1.
            encloses_evaluated: whether the new model holds the evaluated one, for a runner that looks for the baseline
                among the pushed versions.
        """
        super().__init__(
            spec=RefitterSpec(
                examples=examples,
                transform_graph=transform_graph,
                evaluated=evaluated,
                model_runs=model_runs,
                balance=balance,
                sure_accuracy=sure_accuracy,
                encloses_evaluated=int(encloses_evaluated),
                model=Channel(type=standard_artifacts.Model),
                model_run=Channel(type=standard_artifacts.ModelRun),
            )
        )
