"""Runs one node of a compiled pipeline, whatever runner asks for it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import cache_utils, launcher
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.proto.orchestration import execution_result_pb2, pipeline_pb2
from tfx.types import Artifact

from components.artifacts import CHECKSUMS_PROPERTY, COMPONENT_PROPERTY, SECONDS_PROPERTY
from components.damage import damage_of, noted_checksums
from components.storage.checksums import checksums
from components.storage.files import fileio
from components.storage.staging import Copies, Damaged
from deepmusic_genre.errors import ComponentFailed
from deepmusic_genre.memory import give_memory_back, spare_memory
from deepmusic_genre.process import received_stop
from pipeline.engine import engine_jobs
from pipeline.metadata.store import PatientMetadata
from pipeline.run.beam_memo import memoized

Outputs = dict[str, list[Artifact]]
"""A component's output artifacts by key."""

Work = Callable[[], bytes]

_CACHED = metadata_store_pb2.Execution.CACHED
_COMPLETE = metadata_store_pb2.Execution.COMPLETE
_SYSTEM_FOLDER = ".system"


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
    """The folder of a run's artifacts; the pipeline has to be one run of it."""
    return str(pipeline.runtime_spec.pipeline_root.field_value.string_value)


def _here(work: Work) -> bytes:
    return work()


def launch(
    pipeline: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    copies: Copies,
    have_done: Callable[[Work], bytes] = _here,
) -> Launched:
    """Runs a node of a compiled pipeline whose upstream nodes have run.

    Args:
        pipeline: one run of it.
        node: of that pipeline.
        copies: what the component reads and writes of a store that it cannot open; the run's nodes share them.
        have_done: has the component's own work done, in this process or in another, and gives its answer; what is
            asked of metadata and written to them is done here.

    Raises:
        ComponentFailed: from the exception that the component raised.
    """
    component = node.node_info.id
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    connection = connection_of(pipeline)
    start = time.monotonic()
    spare_memory()
    here = _on_this_machine(pipeline, copies)
    launched = _Launcher(
        copies,
        have_done,
        pipeline_node=node,
        mlmd_connection=PatientMetadata(connection),
        pipeline_info=pipeline.pipeline_info,
        pipeline_runtime_spec=here.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, component),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, component),
    )
    try:
        execution = launched.launch()
    except Exception as error:  # Whatever a component raises, the run stops and says where.
        raise received_stop() or ComponentFailed(component) from error
    finally:
        _remove_system_folder(f"{root_of(here)}/{component}")
        give_memory_back()
    state, outputs = _result(connection, execution.execution_id)
    if state not in (_CACHED, _COMPLETE):
        raise ComponentFailed(component)
    # A resolver looks up; it makes nothing, and has no work to take from the cache.
    makes = bool(node.outputs.outputs)
    return Launched(outputs, time.monotonic() - start, cached=makes and not launched.executed)


def _on_this_machine(pipeline: pipeline_pb2.Pipeline, copies: Copies) -> pipeline_pb2.Pipeline:
    """The pipeline with the folder of its artifacts where its components can write to."""
    here = pipeline_pb2.Pipeline(runtime_spec=pipeline.runtime_spec)
    here.runtime_spec.pipeline_root.field_value.string_value = copies.local(root_of(pipeline))
    return here


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


class _Launcher(launcher.Launcher):
    """TFX's launcher, which writes into empty folders alone, notes checksums, and takes nothing damaged.

    Components read and write copies of what is in a store that they cannot open; metadata know the store alone.

    Attributes:
        executed: whether the component ran, and its outputs did not come from the cache.
    """

    def __init__(self, copies: Copies, have_done: Callable[[Work], bytes], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.executed = False
        self._copies = copies
        self._have_done = have_done
        self._component = self._pipeline_node.node_info.id
        self._start = time.monotonic()

    def _prepare_execution(self) -> Any:
        with _cache_of_undamaged(self._component):
            return super()._prepare_execution()

    def _run_executor(self, execution_info: Any) -> Any:
        self.executed = True
        self._start = time.monotonic()
        folders = [artifact.uri for artifact in _all(execution_info.output_dict)]
        for folder in {*folders, *map(self._copies.remote, folders)}:
            # An earlier try in this run was killed: no other run has a folder of this name.
            if fileio.exists(folder):
                fileio.rmtree(folder)
        for artifact in _all(execution_info.input_dict):
            artifact.uri = self._fetch(artifact)
        output = self._have_done(partial(self._execute, execution_info))
        for folder in folders:
            self._copies.publish(folder)
        return execution_result_pb2.ExecutorOutput.FromString(output)

    def _execute(self, execution_info: Any) -> bytes:
        with memoized(), engine_jobs():
            return bytes(super()._run_executor(execution_info).SerializeToString())

    def _fetch(self, artifact: Artifact) -> str:
        try:
            return self._copies.fetch(artifact.uri, noted_checksums(artifact))
        except Damaged:
            with self._mlmd_connection as handle:
                _mark_damaged(handle, [artifact])
            raise

    def _publish_successful_execution(
        self, execution_id: int, contexts: Any, output_dict: Mapping[str, Any], executor_output: Any
    ) -> None:
        """Publishes the outputs with their origin, their cost, and the checksums of their files."""
        seconds = time.monotonic() - self._start
        for key, artifacts in output_dict.items():
            told = executor_output.output_artifacts[key].artifacts if executor_output else ()
            for artifact in told or [artifact.mlmd_artifact for artifact in artifacts]:
                noted = artifact.custom_properties
                noted[COMPONENT_PROPERTY].string_value = self._component
                noted[SECONDS_PROPERTY].double_value = seconds
                noted[CHECKSUMS_PROPERTY].string_value = json.dumps(checksums(artifact.uri))
                _name_store(artifact, self._copies)
        for artifact in _all(output_dict):
            artifact.uri = self._copies.remote(artifact.uri)
        super()._publish_successful_execution(execution_id, contexts, output_dict, executor_output)


def _all(artifacts: Mapping[str, Iterable[Artifact]]) -> list[Artifact]:
    return list(chain.from_iterable(artifacts.values()))


def _name_store(artifact: metadata_store_pb2.Artifact, copies: Copies) -> None:
    """Puts the places of the store for those of the copies, also where a component has noted one of its inputs'."""
    artifact.uri = copies.remote(artifact.uri)
    for value in artifact.custom_properties.values():
        if value.HasField("string_value"):
            value.string_value = copies.remote(value.string_value)


@contextmanager
def _cache_of_undamaged(component: str) -> Iterator[None]:
    """Lets the cache pass over artifacts whose files have changed since they were made, and says so.

    TFX itself looks only whether their folders are there. It has no place to hook this in.
    """
    log = logging.getLogger(f"deepmusic.{component}")
    found = cache_utils.get_cached_outputs

    def undamaged(metadata_handle: Any, cache_context: Any) -> Outputs | None:
        while (outputs := found(metadata_handle, cache_context)) is not None:
            damaged = [
                (artifact, f"{key}: {damage}")
                for key, artifacts in outputs.items()
                for artifact in artifacts
                if (damage := damage_of(artifact))
            ]
            if not damaged:
                return outputs
            for _, damage in damaged:
                log.info("%s; it is made again", damage)
            _mark_damaged(metadata_handle, [artifact for artifact, _ in damaged])
        return None

    cache_utils.get_cached_outputs = undamaged
    try:
        yield
    finally:
        cache_utils.get_cached_outputs = found


def _mark_damaged(handle: Any, artifacts: list[Artifact]) -> None:
    """Keeps the cache, and whoever looks for a baseline, from artifacts; the next clean removes their files."""
    for artifact in artifacts:
        artifact.mlmd_artifact.state = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
    handle.store.put_artifacts([artifact.mlmd_artifact for artifact in artifacts])


def _remove_system_folder(component_folder: str) -> None:
    """Removes what TFX's launcher keeps for itself while a component runs, and leaves behind."""
    folder = f"{component_folder}/{_SYSTEM_FOLDER}"
    if fileio.exists(folder):
        fileio.rmtree(folder)
        if not fileio.listdir(component_folder):
            fileio.rmtree(component_folder)


def _result(connection: Any, execution_id: int) -> tuple[int, Outputs]:
    with PatientMetadata(connection) as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        outputs = execution_lib.get_output_artifacts(handle, execution_id)
        return execution.last_known_state, {key: list(artifacts) for key, artifacts in outputs.items()}
