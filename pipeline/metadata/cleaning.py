"""Old runs' artifacts and old versions, removed by a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from rich.filesize import decimal
from tfx.dsl.compiler import constants
from tfx.orchestration.metadata import Metadata

from components.artifacts import IngestReport
from components.pusher.folder import SAVED_MODEL, folders_of, known_versions, live_version, old_versions
from components.storage.files import fileio
from components.storage.json_files import read_json
from components.storage.sizes import size_of
from components.track_example_gen.store import discard, read_at, shard_folders
from pipeline.create_pipeline import shard_store
from pipeline.metadata.database import artifacts_of, connection_of, require_database
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
    logs: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        counts = {
            "artifacts": self.artifacts,
            "pushed versions": self.versions,
            "shards of examples": self.shards,
            "logs": self.logs,
        }
        removed = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        if not (removed or self.bytes):
            return "nothing to remove"
        return f"removed {removed or 'what runs left behind'}: {decimal(self.bytes)}"


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
    require_database(settings)
    old = old_versions(pushed, keep.versions) if keep.versions is not None else []
    with PatientMetadata(connection_of(settings)) as handle:
        history = History(handle, settings.name)
        recent = _recent(history, keep.runs)
        kept = _kept(history, recent, set(known_versions(pushed)) - set(old), live_version(pushed))
        # The cache would take a push for done whose version is not there any more.
        kept -= {number for number, version in history.pushed().items() if version in old}
        artifacts = history.artifacts.values()
        _mark(handle, [artifact for artifact in artifacts if _is_old(artifact, kept, settings.artifacts)])
        freed = sum(_remove_version(folder) for version in old for folder in folders_of(pushed, version))
        removed, artifact_bytes = _remove_marked(handle, settings.name)
        store = shard_store(settings, settings.artifacts)
        if recent is None:
            return Cleaned(removed, len(old), bytes=freed + artifact_bytes)
        shards, shard_bytes = _remove_shards(store, artifacts_of(handle.store, settings.name))
        freed += artifact_bytes + shard_bytes + _remove_unnamed(settings, handle)
    logs, log_bytes = _remove_logs(Path(settings.home) / "logs", min((run.began for run in recent), default=0.0))
    return Cleaned(removed, len(old), shards, logs, freed + log_bytes)


def _recent(history: History, runs: int | None) -> list[Run] | None:
    """So many of the last runs that came to their end, with those in between and since; None if all are kept."""
    if runs is None:
        return None
    ends = [place for place, run in enumerate(history.runs) if run.came_to_its_end]
    # What a run that was stopped since has made is what the next one goes on with.
    return history.runs[ends[-runs] if len(ends) >= runs else 0 :]


def _kept(history: History, recent: list[Run] | None, versions: set[int], live: int | None) -> set[int]:
    """The numbers of the artifacts that stay.

    Args:
        history: all runs.
        recent: Those whose artifacts all stay, None for every run.
        versions: those that are there.
        live: the one that is served, if any.
    """
    if recent is None:
        return set(history.artifacts)
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


def _remove_marked(handle: Metadata, pipeline: str) -> tuple[int, int]:
    marked = [artifact for artifact in artifacts_of(handle.store, pipeline) if artifact.state == _MARKED]
    freed = 0
    for artifact in marked:
        freed += size_of(artifact.uri)
        if fileio.exists(artifact.uri):
            fileio.rmtree(artifact.uri)
        artifact.state = _DELETED
        handle.store.put_artifacts([artifact])
    return len(marked), freed


def _remove_shards(store: str, artifacts: list[metadata_store_pb2.Artifact]) -> tuple[int, int]:
    """Removes the shards that no report names, but for those that an ingestion has read that is not finished."""
    if not fileio.exists(store):
        return 0, 0
    reports = [
        artifact
        for artifact in artifacts
        if artifact.type == IngestReport.TYPE_NAME and artifact.state == metadata_store_pb2.Artifact.LIVE
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


def _remove_unnamed(settings: Settings, handle: Metadata) -> int:
    """Removes what killed components left in the folders of known runs, and what TFX keeps there for itself.

    The folder of a run that these metadata do not know stays: it may be another machine's, or of metadata that were
    lost, with a report that somebody wants.

    Returns:
        The bytes that it took.
    """
    root = settings.artifacts
    artifacts = artifacts_of(handle.store, settings.name)
    live = {artifact.uri for artifact in artifacts if artifact.state == metadata_store_pb2.Artifact.LIVE}
    known = handle.store.get_contexts_by_type(constants.PIPELINE_RUN_CONTEXT_TYPE_NAME)
    runs = [f"{root}/{run.name}" for run in known if fileio.exists(f"{root}/{run.name}")]
    unnamed = [folder for run in runs for folder in _without_artifacts(run, live)]
    # As runs of an older state of this project have left it, whose artifacts had no folder for each run.
    unnamed += fileio.glob(f"{root}/*/.system")
    empty = [run for run in runs if not any(artifact.startswith(f"{run}/") for artifact in live)]
    freed = sum(map(size_of, unnamed))
    for folder in (*unnamed, *empty):
        fileio.rmtree(folder)
    return freed


def _without_artifacts(folder: str, artifacts: set[str]) -> Iterator[str]:
    """The outermost folders below one that neither are an artifact nor hold one."""
    # Of a remote folder, some file systems list the names with a slash behind.
    names = fileio.listdir(folder) if fileio.exists(folder) else []
    for child in (f"{folder}/{name.rstrip('/')}" for name in names):
        if child in artifacts or not fileio.isdir(child):
            continue
        if any(artifact.startswith(f"{child}/") for artifact in artifacts):
            yield from _without_artifacts(child, artifacts)
        else:
            yield child


def _remove_logs(folder: Path, before: float) -> tuple[int, int]:
    """Removes the logs that were last written before a moment; returns how many there were, and their bytes."""
    old = [file for file in folder.glob("*.log") if file.stat().st_mtime < before]
    freed = sum(file.stat().st_size for file in old)
    for file in old:
        file.unlink()
    return len(old), freed
