"""``deepmusic kubeflow compile``: the pipeline's specification, for Kubeflow Pipelines and Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from components.storage.places import is_staged
from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from pipeline.console import Terminal, open_terminal, relative
from pipeline.run.command_line import run_to_end, settings_of
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
"""The project, and the image's working folder."""

_NAME = re.compile("[a-z0-9][a-z0-9-]*")
_REMOTE = ("gs://",)
_DATA = ("data.path", "data.labels")
_REMOTE_DATA = (*_REMOTE, "s3://")


def compile_pipeline(given: Given) -> int:
    """Writes the specification; raises PipelineInputError if the settings ask for what a cluster cannot do."""
    settings = settings_of(given)
    clusters = for_cluster(settings)
    terminal = open_terminal(settings, given.verbose)
    return run_to_end(terminal, lambda: _compile(clusters, Path(settings.home), terminal))


def _compile(settings: Settings, home: Path, terminal: Terminal) -> int:
    terminal.moment("Starting TensorFlow Extended")
    from pipeline.kubeflow.specification import PARAMETERS, specification

    documents = specification(settings, settings.home)
    file = write_specification(home / "kubeflow", documents)
    steps = len(documents[0]["root"]["dag"]["tasks"])
    terminal.line(f"{relative(file)}: {steps} steps in {settings.kubeflow.image}; parameters {', '.join(PARAMETERS)}")
    return 0


def write_specification(folder: Path, documents: list[dict[str, Any]]) -> Path:
    """Writes ``pipeline.yaml`` into a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pipeline.yaml"
    part = folder / "pipeline.yaml.part"
    part.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    part.replace(file)
    return file


def require_kubeflow(settings: Settings) -> None:
    """Raises PipelineInputError for settings that no run of the compiled pipeline can do, with a line for each."""
    lines = list(_faults(settings))
    if is_staged(settings.storage or ""):
        lines.append(f"storage = {settings.storage!r}: steps write shards there, which they cannot on S3.")
    _refuse(lines)


def for_cluster(settings: Settings) -> Settings:
    """The settings as a cluster has them, whose only folder is the storage.

    Raises:
        PipelineInputError: a cluster cannot do what they ask for; with a line for each setting.
    """
    _refuse([*_faults(settings), *_faults_of_cluster(settings)])
    return settings.model_copy(update={"output": settings.storage})


def _refuse(faults: Iterable[str]) -> None:
    lines = "\n  ".join(faults)
    if lines:
        raise PipelineInputError(f"Settings, for Kubeflow: {lines}")


def _faults(settings: Settings) -> Iterator[str]:
    if not _NAME.fullmatch(settings.name):
        yield f"name = {settings.name!r}: it takes small letters, digits and hyphens, a hyphen not first."
    if settings.training.warm_start:
        yield "training.warm_start: the model to start from is looked for in ML Metadata, which steps there cannot ask."
    if settings.metadata.database is not None:
        yield "metadata.database: lineage and cache are in Kubeflow's own database there."
    if not settings.keep.keeps_everything:
        yield "keep: what is old is known by ML Metadata, which is not there. Let the storage expire it."


def _faults_of_cluster(settings: Settings) -> Iterator[str]:
    if settings.kubeflow.image is None:
        yield "kubeflow.image is not set: build one from pipeline/kubeflow/Dockerfile, push it, and name it."
    if settings.storage is None:
        yield "storage is not set: name where versions of the model go."
    if settings.spotify.enabled:
        yield (
            "spotify.enabled: the store is a folder of this machine. Crawl here (`deepmusic crawl`), copy the store to"
            " where the cluster sees it, and name its analyses and labels in data.path and data.labels."
        )
    elif settings.data.path is None:
        yield "data.path is not set: the demo catalogue is made on this machine, which a cluster's pods cannot see."
    for key, path in _paths(settings).items():
        remote = _REMOTE_DATA if key in _DATA else _REMOTE
        if path is not None and not (path.startswith(remote) or _mounted(path, settings)):
            yield (
                f"{key} = {path!r}: a cluster's pods cannot see it. Name a place on {' or '.join(remote)}, or below the"
                " path of a claim in kubeflow.volumes."
            )


def _paths(settings: Settings) -> dict[str, str | None]:
    paths = {
        "data.path": settings.data.path,
        "data.labels": settings.data.labels,
        "storage": settings.storage,
    }
    # What is in the project is in the image.
    own = Path(settings.schema_file).is_relative_to(ROOT)
    return paths if own else {**paths, "schema_file": settings.schema_file}


def _mounted(path: str, settings: Settings) -> bool:
    return any(PurePosixPath(path).is_relative_to(mount) for mount in settings.kubeflow.volumes.values())
