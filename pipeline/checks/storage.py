"""Whether a remote place can be written to and read, by TensorFlow and by Beam, which have a client each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.storage.places import is_remote
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
    if not is_remote(folder):
        return
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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineInputError(
            f"{client} cannot write to {folder} and read it: {reason} (both know gs://; mount any other object store"
            " as a folder, and name that; data, labels and OUT may be s3://)"
        ) from error
