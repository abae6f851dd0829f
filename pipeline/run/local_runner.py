"""Runs a pipeline in this process, one component after the other, and tells an observer how it goes.

TFX's LocalDagRunner does the same, but what it tells goes to its log only: not which component ran, which came from the
cache, which one failed, or where the outputs are.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from tfx.dsl.compiler import constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.orchestration.portable.tfx_runner import IrBasedRunner
from tfx.proto.orchestration import pipeline_pb2

from pipeline.run.launch import Launched, Outputs, launch


class Observer(Protocol):
    """Who is told how a run goes."""

    def started(self, component: str) -> None:
        """A component begins."""

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """A component ended well, by running or by taking what an earlier run made."""


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
        name_run(pipeline, datetime.now().isoformat())
        return {
            node.pipeline_node.node_info.id: self._run_node(pipeline, node.pipeline_node).outputs
            for node in pipeline.nodes
        }

    def _run_node(self, pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> Launched:
        component = node.node_info.id
        self._observer.started(component)
        launched = launch(pipeline, node)
        self._observer.finished(component, launched.seconds, launched.cached)
        return launched


def name_run(pipeline: pipeline_pb2.Pipeline, run: str) -> None:
    """Makes a compiled pipeline one run of it: nodes of one name take each other's outputs."""
    runtime_parameter_utils.substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run})
