"""The folder that the answers go to, and what keeps answers of different origin apart in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json
from components.storage.locks import Locked, exclusive
from components.storage.places import children, is_remote
from components.track_example_gen.catalogue import FILE_ERRORS
from deepmusic_genre.errors import PipelineInputError
from serving.batch.model import PushedModel

PARQUET_FILE = "predictions.parquet"
CSV_FILE = "predictions.csv"
JSON_FILE = "predictions.jsonl"
REJECTIONS_FILE = "rejections.jsonl"
SUMMARY_FILE = "summary.json"
"""Written last: where it is, the others are whole and of one make."""

JOB_FILE = "job.json"

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f"%*/:<>?\\|\x7f]')
_PARTS = "parts"
_LOCK = "lock"


class Job(msgspec.Struct, frozen=True):
    """What the answers in a folder are: a model's, to a catalogue, of whose sound files the middle may be analysed."""

    data: str
    model: PushedModel
    middle: float | None = None

    def __str__(self) -> str:
        part = "" if self.middle is None else f", the middle {self.middle:g} s of sound"
        return f"the answers of {self.model} to {self.data}{part}"


def answer_files(genres: Sequence[str], formats: Sequence[str]) -> list[str]:
    """The names of the files that answers and rejections are written to.

    Args:
        genres: names of the model's.
        formats: which of :data:`deepmusic_genre.client.defaults.FURTHER_FORMATS` are written.
    """
    further = {"jsonl": [JSON_FILE], "m3u8": [playlist_file(genre) for genre in genres]}
    names = [name for form in formats for name in further[form]]
    return [PARQUET_FILE, CSV_FILE, REJECTIONS_FILE, *names]


def playlist_file(genre: str) -> str:
    """The name of a genre's playlist; what some file system refuses is written as in a URL, as ``R%2FB``."""
    return _NOT_IN_NAMES.sub(lambda letter: f"%{ord(letter[0]):02X}", genre) + ".m3u8"


@contextmanager
def output_folder(out: str, job: Job) -> Iterator[str]:
    """Makes a folder the job's, or finds that it is, and keeps other runs away for as long as the context lasts.

    Two runs on a remote file system, which has no locks, would do the work twice; the answers are the same.

    Yields:
        The folder inside of it that the shards' files go to.

    Raises:
        PipelineInputError: it is inside of the catalogue, cannot be written to, holds something else, or another run
            is going on.
    """
    _require_apart(out, job.data)
    parts = os.path.join(out, _PARTS)
    with ExitStack() as stack:
        with writing_to(out):
            fileio.makedirs(parts)
            if not is_remote(out):
                stack.enter_context(_only_run(out))
            _claim(out, parts, job)
        yield parts


@contextmanager
def _only_run(out: str) -> Iterator[None]:
    try:
        with exclusive(Path(out) / _LOCK):
            yield
    except Locked as error:
        raise PipelineInputError(
            f"Another run writes to {out}. Wait for it to end, or choose another folder."
        ) from error


@contextmanager
def writing_to(folder: str) -> Iterator[None]:
    """Says which folder it is that cannot be written to.

    Raises:
        PipelineInputError: for what a local disk or a remote file system raises.
    """
    try:
        yield
    except FILE_ERRORS as error:
        # TFX's own error is empty, and comes from the one that says what it is.
        raise PipelineInputError(f"{folder} cannot be written to: {str(error) or error.__cause__}") from error


@contextmanager
def whole(path: str, parts: str) -> Iterator[str]:
    """Lets a file take its name when it is whole.

    Args:
        path: the file's.
        parts: where it is written until then: what a killed run leaves there is removed by the next.

    Yields:
        The name to write to. Nobody else has it, not even a worker that outlived a killed run.
    """
    staging = os.path.join(parts, f"{uuid4().hex}.part")
    yield staging
    fileio.rename(staging, path, overwrite=True)


def remove_files(folder: str, names: Iterable[str]) -> None:
    """Removes those of the files that are there."""
    for name in set(names) & set(fileio.listdir(folder)):
        fileio.remove(os.path.join(folder, name))


def _require_apart(out: str, data: str) -> None:
    if os.path.join(os.path.realpath(out), "").startswith(os.path.join(os.path.realpath(data), "")):
        raise PipelineInputError(f"{out} is inside of {data}: what is written there would be read as tracks.")


def _claim(out: str, parts: str, job: Job) -> None:
    path = os.path.join(parts, JOB_FILE)
    if not fileio.exists(path):
        foreign = set(children(out)) - {_LOCK, _PARTS}
        if foreign:
            raise PipelineInputError(f"{out} holds {min(foreign)} and no answers: choose a new folder.")
        with whole(path, parts) as staging:
            write_json(staging, job)
    found = read_json(path, Job)
    if found != job:
        raise PipelineInputError(f"{out} holds {found}: choose another folder for {job}.")
