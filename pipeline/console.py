"""What the person at the terminal sees; everything else goes to a log file."""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from components.scoring.scores import accuracy, balanced_accuracy, genre_scores, macro_f1, majority_share
from deepmusic_genre.errors import PipelineInputError

if TYPE_CHECKING:
    from components.scoring.predictions import Predictions
    from pipeline.settings import Settings

log = logging.getLogger(__name__)

LOGGER = "deepmusic"
"""What is logged below this name is shown from level INFO; with ``extra={"progress": True}`` for the moment only."""

_COMPONENT_WIDTH = 18
_QUIET_SECONDS = 60
"""Where there is no terminal, a moment's text becomes a line if there was none for so long."""

_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")
_FILE = re.compile(r"(?<!\S)'?(/[^\s;:'\"]+)")


class Terminal:
    """Standard output for the person, a log file for all the rest."""

    def __init__(self, log_folder: Path, verbose: bool) -> None:
        """Takes over the process's standard output and error.

        Args:
            log_folder: a log file is made here.
            verbose: what libraries say stays on the terminal, too.
        """
        log_folder.mkdir(parents=True, exist_ok=True)
        self.log_file = log_folder / f"{datetime.now():%Y%m%d-%H%M%S}.log"
        self._console = Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, soft_wrap=True)
        self._status = self._console.status("")
        self._last_line = time.monotonic()
        self._running: dict[str, str] = {}
        self._held_back: dict[str, list[str]] = {}
        log = self.log_file.open("a", buffering=1, encoding="utf-8")
        if not verbose:
            # TensorFlow's C++ writes to the descriptors, whatever Python's sys.stderr is.
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        _send_logs_to([logging.StreamHandler(log), *([logging.StreamHandler()] if verbose else [])])
        logging.getLogger(LOGGER).addHandler(_MessageHandler(self))

    def line(self, text: str = "") -> None:
        """Shows a line."""
        self._last_line = time.monotonic()
        self._console.print(text, markup=False)

    def moment(self, text: str) -> None:
        """Shows a text until the next one; off a terminal now and then, for good."""
        if self._console.is_terminal:
            self._status.update(text)
            self._status.start()
        elif time.monotonic() - self._last_line >= _QUIET_SECONDS:
            self.line(text)

    def started(self, component: str) -> None:
        """See :class:`pipeline.run.side_by_side.Observer`."""
        self._running[component] = component
        self._show_running()

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """See :class:`pipeline.run.side_by_side.Observer`."""
        self._running.pop(component, None)
        self._status.stop()
        self._say_held_back(component)
        self.line(f"{component:{_COMPONENT_WIDTH}} {seconds:6.1f} s{'  from the cache' if cached else ''}")
        self._show_running()

    def say(self, component: str, text: str) -> None:
        """Shows a component's line; beside others, when it has ended: not between what others say."""
        if self._running.keys() - {component} and component in self._running:
            self._held_back.setdefault(component, []).append(text)
            self.goes_on(component, text)
        else:
            self._say_held_back(component)
            self.line(f"  {text}")

    def goes_on(self, component: str, text: str) -> None:
        """Shows how far a component is, beside the others that run."""
        if component in self._running:
            self._running[component] = f"{component}: {text}"
            self._show_running()
        else:
            self.moment(f"{component}: {text}")

    def _say_held_back(self, component: str) -> None:
        for text in self._held_back.pop(component, []):
            self.line(f"  {text}")

    def _show_running(self) -> None:
        if self._running:
            self.moment(" | ".join(self._running.values()))

    def error(self, text: str) -> None:
        """Shows what went wrong."""
        self._status.stop()
        self._console.print(text, style="bold red", markup=False)

    def failure(self, place: str, cause: BaseException | None) -> None:
        """Shows why a step ended a run, in a line; the trace of what is no fault of the input goes to the log.

        Args:
            place: where, with what separates it from the reason; may be empty.
            cause: what was raised; None where a component was left without its input.
        """
        for component in list(self._held_back):
            self._say_held_back(component)
        if isinstance(cause, PipelineInputError):
            self.error(f"{place}{cause}")
        else:
            log.error("%sfailed", place, exc_info=cause)
            self.error(f"{place}failed, {reason(cause) if cause else 'its input is not there'}")
        self.line(f"log: {relative(self.log_file)}")

    def counts(self, by_genre: Mapping[str, int]) -> None:
        """Shows how many tracks there are of each genre."""
        tracks = sum(by_genre.values())
        table = Table(show_footer=True)
        table.add_column("genre", footer="all")
        table.add_column("tracks", f"{tracks:,}", justify="right")
        table.add_column("share", justify="right")
        for genre, count in by_genre.items():
            table.add_row(escape(genre), f"{count:,}", f"{count / tracks:.1%}" if tracks else "-")
        self._console.print(table)

    def names(self, rows: Iterable[tuple[str, int, str]]) -> None:
        """Shows how many tracks have each name of a genre, and what it becomes."""
        table = Table("genre", Column("tracks", justify="right"), "becomes")
        for name, count, becomes in rows:
            table.add_row(escape(name), f"{count:,}", escape(becomes))
        self._console.print(table)

    def scores(self, predictions: Predictions, title: str) -> None:
        """Shows a model's scores by genre."""
        confusion = predictions.confusion
        by_genre = genre_scores(confusion)
        table = Table(title=title, title_justify="left", show_footer=True)
        table.add_column("genre", footer="all")
        table.add_column("tracks", f"{int(confusion.sum()):,}", justify="right")
        for name in ("precision", "recall", "F1"):
            table.add_column(name, justify="right")
        for index, genre in enumerate(predictions.genres):
            row = (_score(by_genre[name][index]) for name in ("precision", "recall", "f1"))
            table.add_row(escape(genre), f"{int(by_genre['support'][index]):,}", *row)
        self._console.print(table)
        self.line(
            f"accuracy {_score(accuracy(confusion))} (the most frequent genre alone:"
            f" {_score(majority_share(confusion))}), macro F1 {_score(macro_f1(confusion))}"
        )

    def comparison(self, predictions: Mapping[str, Predictions], title: str) -> None:
        """Shows several models' scores."""
        table = Table(title=title, title_justify="left")
        table.add_column("model")
        for name in ("accuracy", "balanced accuracy", "macro F1"):
            table.add_column(name, justify="right")
        for model, answers in predictions.items():
            confusion = answers.confusion
            table.add_row(model, *(_score(score(confusion)) for score in (accuracy, balanced_accuracy, macro_f1)))
        self._console.print(table)


def open_terminal(settings: Settings, verbose: bool) -> Terminal:
    """The terminal of a run, with its log below the run's folder.

    Raises:
        PipelineInputError: nothing can be written there.
    """
    try:
        return Terminal(Path(settings.home) / "logs", verbose)
    except OSError as error:
        raise PipelineInputError(f"Nothing can be written to output = {settings.output}: {error.strerror}.") from error


def reason(cause: BaseException) -> str:
    """What was raised, in a line."""
    # TensorFlow, Beam and SQLite have an error each for it, and say it in the same words.
    if any(full in str(cause) for full in _FULL):
        file = _FILE.search(str(cause))
        where = f" with {file[1]}" if file else ""
        return f"no space is left on the disk{where}: make room, and the next run goes on from the last component"
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def relative(path: Path | str | None) -> str:
    """A path as short as a person would write it here."""
    text = str(path)
    return os.path.relpath(text) if text.startswith(f"{Path.cwd()}{os.sep}") else text


def _score(value: Any) -> str:
    return "-" if math.isnan(value) else f"{float(value):.3f}"


class _MessageHandler(logging.Handler):
    """Passes the components' own messages to the terminal."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        component = getattr(record, "component", record.name.rpartition(".")[2])
        show = self._terminal.goes_on if getattr(record, "progress", False) else self._terminal.say
        show(component, record.getMessage())


def _send_logs_to(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(logging.INFO)
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
