"""Whether a remote place can be written to and read, by TensorFlow and by Beam, which have a client each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.dsl.io import fileio

from components.errors import PipelineInputError
from components.places import is_remote

_CONTENT = b"deepmusic"


def require_storage(folder: str, beam_arguments: Sequence[str]) -> None:
    """Tries a place out before anything is made for it; nothing for a folder of this machine.

    Args:
        folder: where the run writes.
        beam_arguments: Beam's options, which may hold what its client needs.

    Raises:
        PipelineInputError: TensorFlow cannot write there, or Beam cannot read it.
    """
    if not is_remote(folder):
        return
    file = f"{folder}/.try-{uuid4().hex}"
    with _told("TensorFlow cannot write to", folder):
        fileio.makedirs(folder)
        with fileio.open(file, "wb") as written:
            written.write(_CONTENT)
    FileSystems.set_options(PipelineOptions(list(beam_arguments)))
    with _told("Beam cannot read from", folder), FileSystems.open(file) as found:
        if found.read() != _CONTENT:
            raise OSError("it holds something else than TensorFlow wrote")
    fileio.remove(file)


@contextmanager
def _told(what: str, folder: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Each client raises what it likes.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineInputError(
            f"{what} {folder}: {reason}. Both know gs://; mount any other object store as a folder, and name that."
        ) from error
