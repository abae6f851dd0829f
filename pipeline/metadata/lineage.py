"""What a pushed version was made from, by ML Metadata; without TFX, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ml_metadata.errors import StatusError
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.storage.places import exists
from deepmusic_genre.errors import PipelineInputError
from pipeline.metadata.database import artifacts_of, connection_of, database_file, open_server
from pipeline.metadata.database_file import require_undamaged
from pipeline.settings import Settings

_INPUTS = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT)
_OUTPUTS = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
_STATISTICS = "statistics"
_EXAMPLES = "examples"
_TRAIN_STATISTICS = "Split-train/FeatureStats.pb"


@dataclass(frozen=True)
class PushedVersion:
    """A version that a run pushed.

    Attributes:
        number: the version.
        pushed_at: when, in local time.
        verdict: the folder of the verdict on the model.
        predictions: the folder of the candidates' answers to the test split.
        examples: ML Metadata's number of the examples that it was tested on.
    """

    number: int
    pushed_at: datetime
    verdict: str
    predictions: str
    examples: int


class Lineage:
    """A pipeline's metadata, read only."""

    def __init__(self, settings: Settings) -> None:
        """Opens the database.

        Raises:
            PipelineInputError: it is not there, or it is none.
        """
        self._pipeline = settings.name
        address = settings.metadata.address
        self._store = open_server(settings, address) if address else _open_file(settings)

    def pushed(self) -> dict[int, PushedVersion]:
        """The versions that were pushed, lowest first."""
        found = {}
        for artifact in artifacts_of(self._store, self._pipeline):
            if artifact.type != "PushedModel":
                continue
            version = artifact.custom_properties["pushed_version"].string_value
            if version:
                found[int(version)] = self._pushed_version(int(version), artifact)
        return dict(sorted(found.items()))

    def training_statistics(self, version: PushedVersion) -> str:
        """The file of TFDV's statistics of the training split of the examples that a version was made from.

        Those of all tracks, where the run took a sample of them for the training.

        Raises:
            PipelineInputError: they have been removed.
        """
        examples = [version.examples]
        while examples:
            for consumer in self._executions(examples[0], _INPUTS):
                for statistics in self._artifacts(consumer, _OUTPUTS, _STATISTICS):
                    path = f"{statistics.uri}/{_TRAIN_STATISTICS}"
                    if exists(path):
                        return path
            # What Sampler made has none of its own.
            producer = self._executions(examples[0], _OUTPUTS)[0]
            examples = [each.id for each in self._artifacts(producer, _INPUTS, _EXAMPLES)]
        raise PipelineInputError(
            f"The statistics of the training data of version {version.number} are not there any more."
        )

    def _pushed_version(self, number: int, artifact: metadata_store_pb2.Artifact) -> PushedVersion:
        pusher = self._executions(artifact.id, _OUTPUTS)[0]
        (blessing,) = self._artifacts(pusher, _INPUTS, "model_blessing")
        validator = self._executions(blessing.id, _OUTPUTS)[0]
        (verdict,) = self._artifacts(validator, _OUTPUTS, "verdict")
        (predictions,) = self._artifacts(validator, _INPUTS, "predictions")
        predictor = self._executions(predictions.id, _OUTPUTS)[0]
        (examples,) = self._artifacts(predictor, _INPUTS, _EXAMPLES)
        return PushedVersion(
            number,
            datetime.fromtimestamp(artifact.create_time_since_epoch / 1000),
            verdict.uri,
            predictions.uri,
            examples.id,
        )

    def _executions(self, artifact: int, kinds: Iterable[int]) -> list[int]:
        """The executions that read or wrote an artifact, the first one first; later ones took it from the cache."""
        events = self._store.get_events_by_artifact_ids([artifact])
        return sorted({event.execution_id for event in events if event.type in kinds})

    def _artifacts(self, execution: int, kinds: Iterable[int], key: str) -> list[metadata_store_pb2.Artifact]:
        events = self._store.get_events_by_execution_ids([execution])
        ids = {event.artifact_id for event in events if event.type in kinds and event.path.steps[0].key == key}
        return list(self._store.get_artifacts_by_id(sorted(ids)))


def _open_file(settings: Settings) -> MetadataStore:
    file = database_file(settings)
    if not file.is_file():
        raise PipelineInputError(f"There are no metadata of runs: {file} is not there.")
    require_undamaged(file)
    config = connection_of(settings)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        store = MetadataStore(config)
        store.get_execution_types()
    except (StatusError, RuntimeError) as error:
        raise PipelineInputError(f"The metadata in {file} cannot be read: {error}.") from error
    return store
