"""Runs a pipeline on this machine, components side by side where they can be, and tells an observer how it goes.

TFX's LocalDagRunner does the same, but what it tells goes to its log only: not which component ran, which came from the
cache, which one failed, or where the outputs are.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

from tfx.dsl.compiler import constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.orchestration.portable.tfx_runner import IrBasedRunner
from tfx.proto.orchestration import pipeline_pb2

from components.storage.files import fileio
from components.storage.staging import Copies
from components.track_example_gen.catalogue import FILE_ERRORS
from pipeline.run.launch import Launched, Outputs, launch, root_of
from pipeline.run.side_by_side import Observer, SideBySide

_LONGEST_GIVEN = 100


class LocalRunner(IrBasedRunner):
    """Runs every component after those that it waits for, and begins none any more when one has failed."""

    def __init__(self, observer: Observer, copies: Copies, side_by_side: int = 0) -> None:
        """Makes a runner.

        Args:
            observer: is told how it goes.
            copies: see :func:`pipeline.run.launch.launch`; they are cleared when the run ends.
            side_by_side: how many components may run at a time, each in a fork of this process, see
                :mod:`components.forks`. 0 runs them in this process, one after the other.
        """
        self._observer = observer
        self._copies = copies
        self._side_by_side = side_by_side

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
        name_run(pipeline)
        nodes = [node.pipeline_node for node in pipeline.nodes]
        try:
            if self._side_by_side:
                return SideBySide(pipeline, self._copies, self._observer).run(nodes, self._side_by_side)
            return {node.node_info.id: self._run_node(pipeline, node).outputs for node in nodes}
        finally:
            self._copies.clear()
            _remove_if_empty(root_of(pipeline))

    def _run_node(self, pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> Launched:
        component = node.node_info.id
        self._observer.started(component)
        launched = launch(pipeline, node, self._copies)
        self._observer.finished(component, launched.seconds, launched.cached)
        return launched


def _remove_if_empty(folder: str) -> None:
    # Where everything came from the cache, nothing is in a run's own folder. What stopped a run is told before that its
    # store is away.
    with suppress(*FILE_ERRORS):
        if fileio.exists(folder) and not fileio.listdir(folder):
            fileio.rmtree(folder)


def name_run(pipeline: pipeline_pb2.Pipeline, given: str = "") -> None:
    """Makes a compiled pipeline one run of it, with a name and a folder of artifacts that no other run has.

    ML Metadata alone would number the artifacts: where it was restored or removed, it counts from the beginning, and a
    run would find another run's files in its folders.

    Args:
        pipeline: Compiled; its nodes take each other's outputs by the run's name.
        given: What the run is called elsewhere, as a part of the name.
    """
    # A folder's name has 255 bytes at most.
    parts = (re.sub(r"[^\w-]+", "-", given)[:_LONGEST_GIVEN], f"{datetime.now():%Y%m%d-%H%M%S}", uuid4().hex[:6])
    name = "-".join(filter(None, parts))
    root = pipeline.runtime_spec.pipeline_root.runtime_parameter.default_value.string_value
    bindings = {
        constants.PIPELINE_RUN_ID_PARAMETER_NAME: name,
        constants.PIPELINE_ROOT_PARAMETER_NAME: f"{root}/{name}",
    }
    runtime_parameter_utils.substitute_runtime_parameter(pipeline, bindings)
