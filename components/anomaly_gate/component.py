"""AnomalyGate: no training on data with anomalies."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.anomaly_gate.executor import Executor


class AnomalyGateSpec(ComponentSpec):
    """Inputs and outputs of :class:`AnomalyGate`."""

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"approved_schema": ChannelParameter(type=standard_artifacts.Schema)}


class AnomalyGate(BaseComponent):
    """Fails on any anomaly; otherwise hands the schema on.

    ExampleValidator only writes anomalies down. What must not run on anomalous data takes ``approved_schema`` from
    here, so that it depends on the verdict in every runner and not merely comes later.

    Outputs:
        approved_schema: the schema that the data was found to agree with.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, anomalies: BaseChannel, schema: BaseChannel) -> None:
        """Constructs the component.

        Args:
            anomalies: ExampleValidator's.
            schema: what they were found by.
        """
        super().__init__(
            spec=AnomalyGateSpec(
                anomalies=anomalies,
                schema=schema,
                approved_schema=Channel(type=standard_artifacts.Schema),
            )
        )
