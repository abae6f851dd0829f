"""What a Beam worker says of itself, see :mod:`pipeline.checks.beam`; with nothing that takes seconds to import."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from apache_beam.io.filesystems import FileSystems

from components.storage.places import is_remote
from pipeline.code_version import code_digest, every_module

_PACKAGES = ("apache-beam", "tensorflow", "tfx")


class Question(msgspec.Struct, frozen=True):
    """What a worker is asked.

    Attributes:
        answer: the file that the answer goes to.
        places: what the run reads and writes.
    """

    answer: str
    places: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """What a worker is.

    Attributes:
        versions: of Python, of packages and of the project's code, by name.
        unseen: those of the places that are not there for it.
    """

    versions: dict[str, str]
    unseen: tuple[str, ...] = ()


def own_versions() -> dict[str, str]:
    """What this process runs, by name."""
    python = ".".join(platform.python_version_tuple()[:2])
    code = code_digest(*every_module())
    return {"the project's code": code, "Python": python, **{name: _of(name) for name in _PACKAGES}}


def answer(question: Question) -> None:
    """Writes the answer: what a job returns is not handed on by every runner."""
    # What a remote place holds, a worker sees like anybody else.
    unseen = tuple(place for place in question.places if not is_remote(place) and not Path(place).exists())
    with _create(question.answer) as file:
        file.write(msgspec.json.encode(Answer(own_versions(), unseen)))


def _create(path: str) -> Any:
    if not path.startswith("s3://"):
        return FileSystems.create(path)
    # Beam's client for S3 is none of this project's packages, and not the one that reads and writes there.
    from components.storage.files import fileio

    return fileio.open(path, "wb")


def _of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
