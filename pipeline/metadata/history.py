"""Which runs there were, what they made and read, by ML Metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration.metadata import Metadata
from tfx.utils import path_utils

from components.trainer.description import ModelDescription, is_described, read_description
from pipeline.metadata.database import artifacts_of, executions_of

_LAST = "ReportGen"
_OUTPUTS = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
_ENDED_WELL = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_KEPT_OF_A_VERSION = ("verdict", "predictions", "statistics")
"""What ``deepmusic versions`` and ``deepmusic drift`` read of the run that pushed a version."""


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        executions: ML Metadata's numbers of its components' executions.
        artifacts: those of all that they made, read, or took from the cache.
        of_a_version: those of them that are still asked for as long as the version that it pushed is there.
        came_to_its_end: whether its last component ended well.
        began: Seconds since 1970.
    """

    executions: frozenset[int]
    artifacts: frozenset[int]
    of_a_version: frozenset[int]
    came_to_its_end: bool
    began: float


class History:
    """The runs of a pipeline, the oldest first, and its artifacts that are there, by their numbers."""

    def __init__(self, handle: Metadata, pipeline: str) -> None:
        """Reads them.

        Args:
            handle: of an open database.
            pipeline: its name.
        """
        self._store = handle.store
        artifacts = artifacts_of(self._store, pipeline)
        self.artifacts = {
            artifact.id: artifact for artifact in artifacts if artifact.state == metadata_store_pb2.Artifact.LIVE
        }
        self._pushed = [artifact for artifact in artifacts if artifact.type == "PushedModel"]
        self._executions = {each.id for each in executions_of(self._store, pipeline)}
        last = self._store.get_context_by_type_and_name(constants.NODE_CONTEXT_TYPE_NAME, f"{pipeline}.{_LAST}")
        ended = self._store.get_executions_by_context(last.id) if last else []
        self._ended = {each.id for each in ended if each.last_known_state in _ENDED_WELL}
        contexts = self._store.get_contexts_by_type(constants.PIPELINE_RUN_CONTEXT_TYPE_NAME)
        runs = [self._run(context) for context in sorted(contexts, key=lambda context: context.id)]
        self.runs = [run for run in runs if run is not None]

    def blessed_models(self) -> dict[int, ModelDescription]:
        """The blessed models whose files are there, the oldest first, with what they are."""
        blessed = {
            _property(artifact, "current_model_id").int_value
            for artifact in self.artifacts.values()
            if artifact.type == "ModelBlessing" and _property(artifact, "blessed").int_value == 1
        }
        models = {number: self.artifacts[number] for number in sorted(blessed & self.artifacts.keys())}
        folders = {number: path_utils.serving_model_path(model.uri) for number, model in models.items()}
        return {number: read_description(folder) for number, folder in folders.items() if is_described(folder)}

    def pushed(self) -> dict[int, int]:
        """The versions by the numbers of the artifacts of their pushes, removed ones as well.

        A version has several where a push found its model to be the live one already.
        """
        versions = {artifact.id: _property(artifact, "pushed_version").string_value for artifact in self._pushed}
        return {number: int(version) for number, version in versions.items() if version}

    def run_that_made(self, artifact: int) -> Run | None:
        """The run that made an artifact, not those that took it from the cache."""
        events = self._store.get_events_by_artifact_ids([artifact])
        makers = sorted(event.execution_id for event in events if event.type in _OUTPUTS)
        return next((run for run in self.runs if makers and makers[0] in run.executions), None)

    def _run(self, context: metadata_store_pb2.Context) -> Run | None:
        """A run; None for another pipeline's, which a server's database may hold as well."""
        executions = frozenset(each.id for each in self._store.get_executions_by_context(context.id))
        if not executions & self._executions:
            return None
        events = self._store.get_events_by_execution_ids(sorted(executions))
        return Run(
            executions,
            _artifacts(events),
            _artifacts(event for event in events if event.path.steps[0].key in _KEPT_OF_A_VERSION),
            bool(executions & self._ended),
            context.create_time_since_epoch / 1000,
        )


def _property(artifact: metadata_store_pb2.Artifact, name: str) -> metadata_store_pb2.Value:
    # To ask a protobuf map for a key that it lacks adds it, without a value; ML Metadata aborts the process that puts
    # such an artifact back.
    properties = artifact.custom_properties
    return properties[name] if name in properties else metadata_store_pb2.Value()


def _artifacts(events: Iterable[metadata_store_pb2.Event]) -> frozenset[int]:
    return frozenset(event.artifact_id for event in events)
