"""``deepmusic predict``: genres of tracks, from a served model."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deepmusic_genre.client.answers_file import Earlier, UnusableFile, open_answers, read_earlier
from deepmusic_genre.client.client import MAX_TOGETHER, Answer, Client, Prediction
from deepmusic_genre.client.endpoint import GRPC_SCHEMES, EndpointError
from deepmusic_genre.client.output import WRITERS, OtherColumns, write_bars
from deepmusic_genre.client.text import cell, encodable, printable
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
        out: File for the answers; None for standard output.
    """

    url: str
    model: str
    version: int | None
    timeout: float
    format: str
    out: str | None = None


def predict_tracks(tracks: Sequence[str], question: Question) -> int:
    """Prints an answer a track.

    Returns:
        1 if a file could not be used or the server did not answer, 130 or 143 if it was stopped.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # Data are for other programs, whatever the terminal's encoding is; people see what it can show.
        sys.stdout.reconfigure(encoding=None if question.format == "bars" else "utf-8", errors="replace")
    code = OK
    # As long as the folder, if every file in it is unusable.
    with _lines() as faults, _lines() as notes:
        try:
            _answer(tracks, question, faults, notes)
        except EndpointError as error:
            print(error, file=faults)
            if question.out:
                print(f"The same command resumes in {question.out}.", file=faults)
        except UnusableFile as error:
            print(error, file=faults)
        except KeyboardInterrupt as stop:
            code = exit_code_of(stop)
        except OtherColumns:
            print(f"{question.out} holds answers of another model: choose another file.", file=faults)
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


@dataclass(frozen=True)
class Messages:
    """Lines for the end of a call: why tracks have no answer, and what is amiss with others."""

    faults: IO[str]
    notes: IO[str]


def _lines() -> SpooledTemporaryFile[str]:
    return SpooledTemporaryFile(_FAULTS_IN_MEMORY, "w+", encoding="utf-8", errors="backslashreplace")


def _answer(tracks: Sequence[str], question: Question, faults: IO[str], notes: IO[str]) -> None:
    console = Console(highlight=False)
    with (
        _destination(question) as (earlier, stream),
        _connected(question, earlier.version) as client,
        _progress(tracks, question.format, console) as advance,
    ):
        read = read_tracks(tracks, earlier.files, client.listens)
        answers = _predicted(client.predict(_usable(read, earlier, Messages(faults, notes), advance)), faults)
        if question.format == "bars":
            write_bars(answers, console)
        else:
            WRITERS[question.format](answers, stream, earlier.columns)


@contextmanager
def _destination(question: Question) -> Iterator[tuple[Earlier, TextIO]]:
    """What is there already, and what further answers are written to."""
    if question.out is None:
        yield Earlier(), sys.stdout
        return
    path = Path(question.out)
    earlier = read_earlier(path, question.format)
    if None not in (earlier.version, question.version) and earlier.version != question.version:
        raise UnusableFile(f"{path} holds answers of version {earlier.version}: choose another file.")
    with open_answers(path, earlier) as stream:
        yield earlier, stream


def _usable(
    read: Iterable[tuple[str, Track | Rejection]], earlier: Earlier, messages: Messages, advance: Callable[[], None]
) -> Iterator[Track]:
    last = None
    for file, item in read:
        if last not in (None, file):
            advance()
        last = file
        if isinstance(item, Rejection):
            print(f"{printable(item.path)}: {printable(item.reason)}", file=messages.faults)
        elif (cell(item.path), encodable(item.track_id)) not in earlier.tracks:
            for note in item.notes:
                print(f"{printable(item.path)}: {printable(note)}", file=messages.notes)
            yield item


def _predicted(answers: Iterable[Answer], faults: IO[str]) -> Iterator[tuple[Track, Prediction]]:
    for track, answer in answers:
        if isinstance(answer, Rejection):
            print(f"{printable(answer.path)}: {printable(answer.reason)}", file=faults)
        else:
            yield track, answer


def _connected(question: Question, earlier_version: int | None) -> Client:
    version = earlier_version if question.version is None else question.version
    arguments = (question.url, question.model, version, question.timeout)
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
    ) as progress:
        task = progress.add_task("", total=files)
        yield lambda: progress.advance(task)
