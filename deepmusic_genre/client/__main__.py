"""Genres of tracks, from a served model."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile
from typing import IO, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deepmusic_genre.client.client import (
    DEFAULT_MODEL,
    DEFAULT_TIMEOUT_S,
    DEFAULT_URL,
    MAX_TOGETHER,
    Answer,
    Client,
    Prediction,
)
from deepmusic_genre.client.endpoint import GRPC_SCHEMES, EndpointError
from deepmusic_genre.client.output import WRITERS
from deepmusic_genre.client.tracks import count_files, read_tracks
from deepmusic_genre.process import exit_code_of, run_process
from deepmusic_genre.tracks.track import Rejection, Track

_A_DAY_S = 86_400
_STANDARD_ERROR = 2
_FAULTS_IN_MEMORY = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints an answer a track; 1 if a file could not be used or the server did not answer, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    # As long as the folder, if every file in it is unusable.
    with SpooledTemporaryFile(_FAULTS_IN_MEMORY, "w+", encoding="utf-8", errors="backslashreplace") as faults:
        try:
            _answer(options, faults)
        except EndpointError as error:
            print(error, file=faults)
        except KeyboardInterrupt as stop:
            return exit_code_of(stop)
        except OSError as error:
            # What is still in the buffer has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):  # Then whoever reads has enough.
                print(f"The answers cannot be written: {error.strerror}.", file=faults)
        failed = faults.tell() > 0
        faults.seek(0)
        shutil.copyfileobj(faults, sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepmusic-predict", description=__doc__)
    parser.add_argument(
        "tracks", nargs="+", help="analyses or sound files in any form that is read, or folders of them"
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="http(s)://host:8501 for REST, grpc(s)://host:8500 for gRPC")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="its name there")
    parser.add_argument("--model-version", type=int, help="instead of the newest")
    parser.add_argument(
        "--timeout", type=_seconds, default=DEFAULT_TIMEOUT_S, help="seconds for a request, with repeats"
    )
    parser.add_argument("--format", choices=sorted(WRITERS), default="bars")
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= _A_DAY_S:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")


def _answer(options: argparse.Namespace, faults: IO[str]) -> None:
    console = Console(highlight=False)
    with (
        _connected(options) as client,
        _progress(options, console) as advance,
    ):
        answers = client.predict(_usable(options.tracks, faults, advance))
        WRITERS[options.format](_predicted(answers, faults), console)


def _usable(paths: Sequence[str], faults: IO[str], advance: Callable[[], None]) -> Iterator[Track]:
    last = None
    for file, item in read_tracks(paths):
        if last not in (None, file):
            advance()
        last = file
        if isinstance(item, Rejection):
            print(f"{item.path}: {item.reason}", file=faults)
        else:
            yield item


def _predicted(answers: Iterable[Answer], faults: IO[str]) -> Iterator[tuple[Track, Prediction]]:
    for track, answer in answers:
        if isinstance(answer, Rejection):
            print(f"{answer.path}: {answer.reason}", file=faults)
        else:
            yield track, answer


def _connected(options: argparse.Namespace) -> Client:
    arguments = (options.url, options.model, options.model_version, options.timeout)
    if not options.url.startswith(GRPC_SCHEMES):
        return Client(*arguments)
    # On a descriptor of its own: standard error is silent while TensorFlow is imported.
    with os.fdopen(os.dup(_STANDARD_ERROR), "w") as terminal, Console(file=terminal).status("loading gRPC"):
        return Client(*arguments)


@contextmanager
def _progress(options: argparse.Namespace, console: Console) -> Iterator[Callable[[], None]]:
    """What is to be called after each file; it shows how far the work is if somebody looks on and it takes a while."""
    # Lines for scripts that scroll by on a terminal tell it themselves, and must not be broken.
    watched = sys.stderr.isatty() and (options.format == "bars" or not console.is_terminal)
    files = count_files(options.tracks) if watched else 0
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


def command() -> NoReturn:
    """``deepmusic-predict``: the command and its process."""
    run_process(main)


if __name__ == "__main__":
    command()
