"""The files of a catalogue: which there are, what they hold, who says what genre they are."""

from __future__ import annotations

import hashlib
import os

from tfx.dsl.io import fileio

from components.errors import PipelineInputError
from sources.labels import InvalidLabels, Label, read_labels
from sources.registry import SOURCES, source_for

_CHUNK_BYTES = 1 << 20


def list_analyses(folder: str) -> list[str]:
    """Every file below ``folder`` that a source reads, sorted, so that a run does not depend on the file system.

    Raises:
        PipelineInputError: the folder is not there, or holds no analysis.
    """
    if not fileio.isdir(folder):
        raise PipelineInputError(f"The data folder {folder} is not there.")
    paths = sorted(
        os.path.join(parent, name)
        for parent, _, names in fileio.walk(folder)
        for name in names
        if source_for(name) and not name.startswith(".")
    )
    if not paths:
        endings = ", ".join(suffix for source in SOURCES for suffix in source.suffixes)
        raise PipelineInputError(f"No audio analysis below {folder}: no file ends in {endings}.")
    return paths


def load_labels(path: str) -> dict[str, Label]:
    """The labels file's rows by track id.

    Raises:
        PipelineInputError: the file is not there or is not a labels file.
    """
    try:
        with fileio.open(path, "rb") as file:
            return read_labels(file.read(), path)
    except fileio.NotFoundError as error:
        raise PipelineInputError(f"The labels file {path} is not there.") from error
    except InvalidLabels as error:
        raise PipelineInputError(f"Labels: {error}.") from error


def fingerprint(folder: str, labels: str | None) -> str:
    """A hash of every analysis's name and content and of the labels file: equal only if nothing changed.

    Raises:
        PipelineInputError: as :func:`list_analyses`, or a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in [*list_analyses(folder), *([labels] if labels else [])]:
        digest.update(os.path.relpath(path, folder).encode() + b"\0" + _content_digest(path))
    return digest.hexdigest()


def _content_digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with fileio.open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except fileio.NotFoundError as error:
        raise PipelineInputError(f"{path} is not there.") from error
    except PermissionError:
        # Read access is checked where the file is read: there it is a rejection with its reason.
        digest.update(b"unreadable")
    return digest.digest()
