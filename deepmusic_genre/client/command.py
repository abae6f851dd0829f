"""``deepmusic predict``: genres of tracks, from a served model."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deepmusic_genre.client.client import MAX_TOGETHER, Answer, Client, Prediction
from deepmusic_genre.client.endpoint import GRPC_SCHEMES, EndpointError
from deepmusic_genre.client.output import WRITERS
from deepmusic_genre.client.tracks import count_files, read_tracks
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.process import exit_code_of
from deepmusic_genre.tracks.track import Rejection, Track

_STANDARD_ERROR = 2
_FAULTS_IN_MEMORY = 1 << 20


@dataclass(frozen=True)
class Question:
    """Whom to ask, and how to print what it answers.

    Attributes:
        url: Address of the server.
        model: Model name on the server.
        version: Version of it, None for the newest.
        timeout: Seconds for a request, repeats included.
        format: One of :data:`deepmusic_genre.client.defaults.FORMATS`.
    """

    url: str
    model: str
    version: int | None
    timeout: float
    format: str


def predict_tracks(tracks: Sequence[str], question: Question) -> int:
    """Prints an answer a track.

    Returns:
        1 if a file could not be used or the server did not answer, 130 or 143 if it was stopped.
    """
    code = OK
    # As long as the folder, if every file in it is unusable.
    with _lines() as faults, _lines() as notes:
        try:
            _answer(tracks, question, faults, notes)
        except EndpointError as error:
            print(error, file=faults)
        except KeyboardInterrupt as stop:
            code = exit_code_of(stop)
        except OSError as error:
            # What is still in the buffer has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):  # Then whoever reads has enough.
                print(f"The answers cannot be written: {error.strerror}.", file=faults)
        code = code or (FAULT if faults.tell() > 0 else OK)
        for lines in (notes, faults):
            lines.seek(0)
            shutil.copyfileobj(lines, sys.stderr)
    return code


def _lines() -> SpooledTemporaryFile[str]:
    return SpooledTemporaryFile(_FAULTS_IN_MEMORY, "w+", encoding="utf-8", errors="backslashreplace")


def _answer(tracks: Sequence[str], question: Question, faults: IO[str], notes: IO[str]) -> None:
    console = Console(highlight=False)
    with (
        _connected(question) as client,
        _progress(tracks, question.format, console) as advance,
    ):
        answers = client.predict(_usable(tracks, faults, notes, advance))
        WRITERS[question.format](_predicted(answers, faults), console)


def _usable(paths: Sequence[str], faults: IO[str], notes: IO[str], advance: Callable[[], None]) -> Iterator[Track]:
    """The tracks of files; what is amiss goes to ``faults`` where there is none, else to ``notes``."""
    last = None
    for file, item in read_tracks(paths):
        if last not in (None, file):
            advance()
        last = file
        if isinstance(item, Rejection):
            print(f"{item.path}: {item.reason}", file=faults)
        else:
            for note in item.notes:
                print(f"{item.path}: {note}", file=notes)
            yield item


def _predicted(answers: Iterable[Answer], faults: IO[str]) -> Iterator[tuple[Track, Prediction]]:
    for track, answer in answers:
        if isinstance(answer, Rejection):
            print(f"{answer.path}: {answer.reason}", file=faults)
        else:
            yield track, answer


def _connected(question: Question) -> Client:
    arguments = (question.url, question.model, question.version, question.timeout)
    if not question.url.startswith(GRPC_SCHEMES):
        return Client(*arguments)
    # On a descriptor of its own: standard error is silent while TensorFlow is imported.
    with os.fdopen(os.dup(_STANDARD_ERROR), "w") as terminal, Console(file=terminal).status("loading gRPC"):
        return Client(*arguments)


@contextmanager
def _progress(tracks: Sequence[str], form: str, console: Console) -> Iterator[Callable[[], None]]:
    """What is to be called after each file; it shows how far the work is if somebody looks on and it takes a while."""
    # Lines for scripts that scroll by on a terminal tell it themselves, and must not be broken.
    watched = sys.stderr.isatty() and (form == "bars" or not console.is_terminal)
    files = count_files(tracks) if watched else 0
    if files <= MAX_TOGETHER:
        yield lambda: None
        return
    with Progress(
        TextColumn("{task.completed:,} of {task.total:,} files"),
        BarColumn(),
        TimeRemainingColumn(),
        # One terminal, one console: else answers and progress would overwrite each other.
        console=console if console.is_terminal else Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("", total=files)
        yield lambda: progress.advance(task)
