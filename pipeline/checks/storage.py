"""Whether a remote place can be written to and read, by all that do so: TensorFlow and Beam have a client each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.storage.files import fileio
from components.storage.places import is_remote, is_staged
from deepmusic_genre.errors import PipelineInputError

_CONTENT = b"deepmusic"


def require_storage(folder: str, beam_arguments: Sequence[str]) -> None:
    """Tries a place out before anything is made for it; nothing for a folder of this machine.

    Args:
        folder: where the run writes.
        beam_arguments: Beam's options, which may hold what its client needs.

    Raises:
        PipelineInputError: one of them cannot write there, or read what the other one wrote.
    """
    if is_staged(folder):
        _require_store(folder)
    elif is_remote(folder):
        _require_both(folder, beam_arguments)


def _require_store(folder: str) -> None:
    tried = f"{folder}/.try-{uuid4().hex}"
    try:
        with fileio.open(tried, "wb") as file:
            file.write(_CONTENT)
        with fileio.open(tried, "rb") as file:
            _require_whole(file.read())
        fileio.listdir(folder)
        fileio.remove(tried)
    except OSError as error:
        raise PipelineInputError(
            f"{folder} cannot be written to, read, listed and cleared: {_reason(error)} (storage names the bucket,"
            " AWS's variables the service, its region and who may write there)"
        ) from error


def _require_both(folder: str, beam_arguments: Sequence[str]) -> None:
    scheme = folder.partition("://")[0]
    with _told("TensorFlow", folder):
        if scheme not in tf.io.gfile.get_registered_schemes():
            raise OSError(f"it knows no file system of the name {scheme}")
    by_beam, by_tensorflow = (f"{folder}/.try-{uuid4().hex}" for _ in range(2))
    FileSystems.set_options(PipelineOptions(list(beam_arguments)))
    # Beam first: TensorFlow asks for a bucket that is not there for minutes.
    with _told("Beam", folder), FileSystems.create(by_beam) as file:
        file.write(_CONTENT)
    with _told("TensorFlow", folder):
        with tf.io.gfile.GFile(by_beam, "rb") as file:
            _require_whole(file.read())
        with tf.io.gfile.GFile(by_tensorflow, "wb") as file:
            file.write(_CONTENT)
    with _told("Beam", folder), FileSystems.open(by_tensorflow) as file:
        _require_whole(file.read())
    for written in (by_beam, by_tensorflow):
        tf.io.gfile.remove(written)


def _require_whole(content: bytes) -> None:
    if content != _CONTENT:
        raise OSError("what was written comes back as something else")


@contextmanager
def _told(client: str, folder: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Each client raises what it likes.
        raise PipelineInputError(
            f"{client} cannot write to {folder} and read it: {_reason(error)} (storage may be gs:// or s3://; mount any"
            " other object store as a folder, and name that)"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
