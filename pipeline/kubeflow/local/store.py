"""What steps made, on disk: a folder a run, in it a folder a step, which counts once its record is written."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ArtifactList

from components.artifacts import COMPONENT_PROPERTY, MADE_WITH_PROPERTY, SECONDS_PROPERTY

_RECORD = "record.json"
_CHUNK_BYTES = 1 << 20
_CHANCE = {COMPONENT_PROPERTY, SECONDS_PROPERTY, MADE_WITH_PROPERTY}
"""Metadata that say nothing of the content."""

log = logging.getLogger("deepmusic.kubeflow")


@dataclass(frozen=True)
class Made:
    """A step's output artifacts by key, an ``ArtifactList`` each, and the digest of each one's content."""

    artifacts: dict[str, Any]
    digests: dict[str, str]


class Store:
    """The runs below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_run(self) -> Path:
        """Makes the folder of a run, and removes what steps left behind that never ended well."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for run in self._runs():
            for step in run.iterdir():
                if step.is_dir() and not (step / _RECORD).is_file():
                    shutil.rmtree(step)
        number = max((int(run.name) for run in self._runs()), default=0) + 1
        folder = self._folder / str(number)
        folder.mkdir()
        return folder

    def find(self, step: str, key: str) -> Made | None:
        """What the latest step of that name and key made, if it is still there."""
        for run in sorted(self._runs(), key=lambda run: int(run.name), reverse=True):
            record = run / step / _RECORD
            if not record.is_file():
                continue
            kept = json.loads(record.read_text(encoding="utf-8"))
            made = Made(
                {name: json_format.ParseDict(found, ArtifactList()) for name, found in kept["artifacts"].items()},
                kept["digests"],
            )
            if kept["key"] != key:
                continue
            damaged = [name for name, found in made.artifacts.items() if not _is_whole(found, made.digests[name])]
            if not damaged:
                return made
            log.info("%s: %s of run %s changed since; made again", step, " and ".join(damaged), run.name)
        return None

    def keep(self, step: Path, key: str, made: tuple[dict[str, Any], dict[str, str]]) -> Made:
        """Writes down what a step made, whole or not at all."""
        artifacts, digests = made
        listed = {name: json_format.MessageToDict(found) for name, found in artifacts.items()}
        part = step / f"{_RECORD}.part"
        part.write_text(json.dumps({"key": key, "digests": digests, "artifacts": listed}, indent=1), encoding="utf-8")
        part.replace(step / _RECORD)
        return Made(artifacts, digests)

    def _runs(self) -> list[Path]:
        return [run for run in self._folder.iterdir() if run.name.isdigit()] if self._folder.is_dir() else []


def key_of(
    command: Sequence[str], parameters: Mapping[str, Any], digests: Mapping[str, str], outputs: Mapping[str, Any]
) -> str:
    """What a step depends on, as a hash.

    Args:
        command: Its container's arguments.
        parameters: What it is given.
        digests: Of the content of its inputs.
        outputs: What is known of its outputs beforehand: what code and environment make them.
    """
    text = json.dumps([list(command), dict(parameters), dict(digests), dict(outputs)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of(artifacts: Any) -> str:
    """A hash of an ``ArtifactList``'s files and metadata, wherever they are."""
    digest = hashlib.blake2b(digest_size=16)
    for artifact in artifacts.artifacts:
        metadata = json_format.MessageToDict(artifact.metadata)
        told = {key: value for key, value in metadata.items() if key not in _CHANCE}
        digest.update(json.dumps(told, sort_keys=True).encode())
        folder = Path(artifact.uri)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"\0{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()


def _is_whole(artifacts: Any, digest: str) -> bool:
    there = all(Path(artifact.uri).is_dir() for artifact in artifacts.artifacts)
    return there and digest_of(artifacts) == digest
