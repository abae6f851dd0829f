"""Runs a pipeline in this process, one component after the other, and tells an observer how it goes.

TFX's LocalDagRunner does the same, but what it tells goes to its log only: not which component ran, which came from the
cache, which one failed, or where the outputs are.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Protocol

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.orchestration.portable.tfx_runner import IrBasedRunner
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact

from components.artifacts import COMPONENT_PROPERTY, SECONDS_PROPERTY

Outputs = dict[str, list[Artifact]]
"""A component's output artifacts by key."""

_CACHED = metadata_store_pb2.Execution.CACHED
_COMPLETE = metadata_store_pb2.Execution.COMPLETE


class Observer(Protocol):
    """Who is told how a run goes."""

    def started(self, component: str) -> None:
        """A component begins."""

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """A component ended well, by running or by taking what an earlier run made."""


class ComponentFailed(Exception):
    """A component did not end well; the cause is what it raised."""

    def __init__(self, component: str) -> None:
        super().__init__(f"{component} failed")
        self.component = component


class LocalRunner(IrBasedRunner):
    """Runs every component in topological order, and stops at the first that fails."""

    def __init__(self, observer: Observer) -> None:
        """Makes a runner that reports to ``observer``."""
        self._observer = observer

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None, **_: Any
    ) -> dict[str, Outputs]:
        """Runs a compiled pipeline.

        Returns:
            Each component's outputs, new or from the cache.

        Raises:
            ComponentFailed: from the exception that the component raised.
        """
        if run_options is not None:
            raise ValueError("partial runs are not supported")
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.now().isoformat()}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        which = deployment.metadata_connection_config.WhichOneof("connection_config")
        connection = getattr(deployment.metadata_connection_config, which)
        return {
            node.pipeline_node.node_info.id: self._run_node(node.pipeline_node, pipeline, deployment, connection)
            for node in pipeline.nodes
        }

    def _run_node(
        self, node: pipeline_pb2.PipelineNode, pipeline: pipeline_pb2.Pipeline, deployment: Any, connection: Any
    ) -> Outputs:
        component = node.node_info.id
        self._observer.started(component)
        start = time.monotonic()
        try:
            execution = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, component),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, component),
            ).launch()
        except Exception as error:  # Whatever a component raises, the run stops and says where.
            raise ComponentFailed(component) from error
        state, outputs = _result(connection, execution.execution_id)
        if state not in (_CACHED, _COMPLETE):
            raise ComponentFailed(component)
        seconds = time.monotonic() - start
        # A resolver looks up; it makes nothing, and has no work to take from the cache.
        makes = bool(node.outputs.outputs)
        if makes and state == _COMPLETE:
            _note_cost(connection, outputs, component, seconds)
        self._observer.finished(component, seconds, cached=makes and state == _CACHED)
        return outputs


def _note_cost(connection: Any, outputs: Outputs, component: str, seconds: float) -> None:
    """Lets later components, a report above all, see what made an artifact and how long it took."""
    artifacts = [artifact for found in outputs.values() for artifact in found]
    for artifact in artifacts:
        artifact.set_string_custom_property(COMPONENT_PROPERTY, component)
        artifact.set_float_custom_property(SECONDS_PROPERTY, seconds)
    with metadata.Metadata(connection) as handle:
        handle.store.put_artifacts([artifact.mlmd_artifact for artifact in artifacts])


def _result(connection: Any, execution_id: int) -> tuple[int, Outputs]:
    with metadata.Metadata(connection) as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        outputs = execution_lib.get_output_artifacts(handle, execution_id)
        return execution.last_known_state, {key: list(artifacts) for key, artifacts in outputs.items()}
