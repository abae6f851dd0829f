"""Runs one node of a compiled pipeline in this process, whatever runner asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact

from components.artifacts import COMPONENT_PROPERTY, SECONDS_PROPERTY
from deepmusic_genre.errors import ComponentFailed
from pipeline.metadata.store import PatientMetadata

Outputs = dict[str, list[Artifact]]
"""A component's output artifacts by key."""

_CACHED = metadata_store_pb2.Execution.CACHED
_COMPLETE = metadata_store_pb2.Execution.COMPLETE


@dataclass(frozen=True)
class Launched:
    """What a node came to.

    Attributes:
        outputs: new, or from the cache.
        seconds: wall-clock.
        cached: whether the outputs of an earlier run, or of an earlier try in this one, were taken.
    """

    outputs: Outputs
    seconds: float
    cached: bool


def connection_of(pipeline: pipeline_pb2.Pipeline) -> Any:
    """The configuration of a compiled pipeline's metadata store."""
    config = runner_utils.extract_local_deployment_config(pipeline).metadata_connection_config
    return getattr(config, config.WhichOneof("connection_config"))


def root_of(pipeline: pipeline_pb2.Pipeline) -> str:
    """The folder of a compiled pipeline's artifacts."""
    return str(pipeline.runtime_spec.pipeline_root.field_value.string_value)


def launch(pipeline: pipeline_pb2.Pipeline, node: pipeline_pb2.PipelineNode) -> Launched:
    """Runs a node of a compiled pipeline whose upstream nodes have run.

    Raises:
        ComponentFailed: from the exception that the component raised.
    """
    component = node.node_info.id
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    connection = connection_of(pipeline)
    start = time.monotonic()
    try:
        execution = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=PatientMetadata(connection),
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
    # An earlier try may have ended well without its runner having heard of it; what that cost stands there already.
    taken = state == _CACHED or _has_cost(outputs)
    if makes and not taken:
        _note_cost(connection, outputs, component, seconds)
    return Launched(outputs, seconds, cached=makes and taken)


def _has_cost(outputs: Outputs) -> bool:
    return any(artifact.has_custom_property(SECONDS_PROPERTY) for found in outputs.values() for artifact in found)


def outputs_of_run(pipeline: pipeline_pb2.Pipeline) -> dict[str, Outputs]:
    """The outputs of every component that has ended well in a run, new or from the cache.

    Args:
        pipeline: compiled, and named after the run.
    """
    ended = {}
    with PatientMetadata(connection_of(pipeline)) as handle:
        for node in (each.pipeline_node for each in pipeline.nodes):
            contexts = context_lib.prepare_contexts(handle, node.contexts)
            for execution in execution_lib.get_executions_associated_with_all_contexts(handle, contexts):
                if execution.last_known_state in (_CACHED, _COMPLETE):
                    outputs = execution_lib.get_output_artifacts(handle, execution.id)
                    ended[node.node_info.id] = {key: list(artifacts) for key, artifacts in outputs.items()}
    return ended


def _note_cost(connection: Any, outputs: Outputs, component: str, seconds: float) -> None:
    """Lets later components, a report above all, see what made an artifact and how long it took."""
    artifacts = [artifact for found in outputs.values() for artifact in found]
    for artifact in artifacts:
        artifact.set_string_custom_property(COMPONENT_PROPERTY, component)
        artifact.set_float_custom_property(SECONDS_PROPERTY, seconds)
    with PatientMetadata(connection) as handle:
        handle.store.put_artifacts([artifact.mlmd_artifact for artifact in artifacts])


def _result(connection: Any, execution_id: int) -> tuple[int, Outputs]:
    with PatientMetadata(connection) as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        outputs = execution_lib.get_output_artifacts(handle, execution_id)
        return execution.last_known_state, {key: list(artifacts) for key, artifacts in outputs.items()}
