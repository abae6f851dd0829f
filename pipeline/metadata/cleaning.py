"""Old runs' artifacts and old versions, removed by a policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2
from rich.filesize import decimal
from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config

from components.artifacts import IngestReport
from components.pusher.folder import SAVED_MODEL, folders_of, known_versions, live_version, old_versions
from components.storage.files import fileio
from components.storage.json_files import read_json
from components.storage.sizes import size_of
from components.track_example_gen.store import discard, read_at, shard_folders
from pipeline.create_pipeline import SHARD_STORE
from pipeline.metadata.history import History, Run
from pipeline.metadata.store import PatientMetadata
from pipeline.settings import Settings

_MARKED = metadata_store_pb2.Artifact.MARKED_FOR_DELETION
_DELETED = metadata_store_pb2.Artifact.DELETED


@dataclass(frozen=True)
class Cleaned:
    """What was removed, and how much space that gave."""

    artifacts: int = 0
    versions: int = 0
    shards: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        counts = {"artifacts": self.artifacts, "pushed versions": self.versions, "shards of examples": self.shards}
        removed = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        return f"removed {removed}: {decimal(self.bytes)}" if removed else "nothing to remove"


def clean(settings: Settings) -> Cleaned:
    """Removes what ``keep`` does not keep; no run may be going on, see :func:`pipeline.metadata.leftovers.only_run`.

    Artifacts are marked before their files go, and so are taken neither from the cache nor as a baseline; what a clean
    that was stopped has left is removed by the next.

    Args:
        settings: those of the runs.

    Raises:
        OSError, tf.errors.OpError: something cannot be removed.
    """
    keep, pushed = settings.keep, settings.pushed
    if keep.keeps_everything:
        return Cleaned()
    old = old_versions(pushed, keep.versions) if keep.versions is not None else []
    with PatientMetadata(sqlite_metadata_connection_config(f"{settings.home}/metadata.sqlite")) as handle:
        history = History(handle, settings.name)
        kept = _kept(history, keep.runs, set(known_versions(pushed)) - set(old), live_version(pushed))
        # The cache would take a push for done whose version is not there any more.
        kept -= {number for number, version in history.pushed().items() if version in old}
        artifacts = history.artifacts.values()
        _mark(handle, [artifact for artifact in artifacts if _is_old(artifact, kept, settings.artifacts)])
        freed = sum(_remove_version(folder) for version in old for folder in folders_of(pushed, version))
        removed, artifact_bytes = _remove_marked(handle)
        store = f"{settings.artifacts}/{SHARD_STORE}"
        shards, shard_bytes = _remove_shards(store, handle) if keep.runs is not None else (0, 0)
    return Cleaned(removed, len(old), shards, freed + artifact_bytes + shard_bytes)


def _kept(history: History, runs: int | None, versions: set[int], live: int | None) -> set[int]:
    """The numbers of the artifacts that stay.

    Args:
        history: all runs.
        runs: how many of those that came to their end, None for all.
        versions: those that are there.
        live: the one that is served, if any.
    """
    if runs is None:
        return set(history.artifacts)
    ends = [place for place, run in enumerate(history.runs) if run.came_to_its_end]
    # What a run that was stopped since has made is what the next one goes on with.
    recent = history.runs[ends[-runs] if len(ends) >= runs else 0 :]
    latest_blessed = {repr(description): number for number, description in history.blessed_models().items()}
    pushed = {number: version for number, version in history.pushed().items() if version in versions}
    served = [number for number, version in pushed.items() if version == live]
    whole = [*recent, *_runs(history, [*latest_blessed.values(), *served])]
    kept = {number for run in whole for number in run.artifacts}
    return kept | {number for run in _runs(history, pushed) for number in run.of_a_version}


def _runs(history: History, artifacts: Iterable[int]) -> list[Run]:
    return [run for run in map(history.run_that_made, artifacts) if run]


def _is_old(artifact: metadata_store_pb2.Artifact, kept: set[int], root: str) -> bool:
    # What lies elsewhere is the user's.
    return artifact.id not in kept and artifact.uri.startswith(f"{root}/")


def _mark(handle: Metadata, artifacts: list[metadata_store_pb2.Artifact]) -> None:
    for artifact in artifacts:
        artifact.state = _MARKED
    if artifacts:
        handle.store.put_artifacts(artifacts)


def _remove_version(folder: str) -> int:
    freed, known_by = size_of(folder), f"{folder}/{SAVED_MODEL}"
    # What is removed by half is no version that a server could take, or a rollback bring back.
    if fileio.exists(known_by):
        fileio.remove(known_by)
    fileio.rmtree(folder)
    return freed


def _remove_marked(handle: Metadata) -> tuple[int, int]:
    marked = [artifact for artifact in handle.store.get_artifacts() if artifact.state == _MARKED]
    freed = 0
    for artifact in marked:
        freed += size_of(artifact.uri)
        if fileio.exists(artifact.uri):
            fileio.rmtree(artifact.uri)
        artifact.state = _DELETED
        handle.store.put_artifacts([artifact])
    return len(marked), freed


def _remove_shards(store: str, handle: Metadata) -> tuple[int, int]:
    """Removes the shards that no report names, but for those that an ingestion has read that is not finished."""
    if not fileio.exists(store):
        return 0, 0
    reports = [
        artifact
        for artifact in handle.store.get_artifacts_by_type(IngestReport.TYPE_NAME)
        if artifact.state == metadata_store_pb2.Artifact.LIVE
    ]
    files = [f"{report.uri}/{IngestReport.SHARDS_FILE}" for report in reports]
    named = {key for file in files if fileio.exists(file) for key in read_json(file, list[str])}
    latest = max((report.create_time_since_epoch / 1000 for report in reports), default=0.0)
    unnamed = [folder for folder in shard_folders(store) if folder.rpartition("/")[2] not in named]
    old = [folder for folder in unnamed if read_at(folder) < latest]
    freed = sum(map(size_of, old))
    for folder in old:
        discard(folder)
    return len(old), freed
