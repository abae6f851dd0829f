"""What the person at the terminal sees; everything else goes to a log file."""

from __future__ import annotations

import logging
import math
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from components.evaluator.results import EvaluationResult

LOGGER = "deepmusic"
"""What is logged below this name is shown from level INFO; with ``extra={"progress": True}`` for the moment only."""

_COMPONENT_WIDTH = 17


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
        log = self.log_file.open("a", buffering=1, encoding="utf-8")
        if not verbose:
            # TensorFlow's C++ writes to the descriptors, whatever Python's sys.stderr is.
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        _send_logs_to([logging.StreamHandler(log), *([logging.StreamHandler()] if verbose else [])])
        logging.getLogger(LOGGER).addHandler(_MessageHandler(self))

    def line(self, text: str = "") -> None:
        """Shows a line."""
        self._console.print(text, markup=False)

    def moment(self, text: str) -> None:
        """Shows a text until the next one; nowhere but on a terminal."""
        self._status.update(text)
        self._status.start()

    def started(self, component: str) -> None:
        """See :class:`pipeline.local_runner.Observer`."""
        self.moment(component)

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """See :class:`pipeline.local_runner.Observer`."""
        self._status.stop()
        self.line(f"{component:{_COMPONENT_WIDTH}} {seconds:6.1f} s{'  from the cache' if cached else ''}")

    def error(self, text: str) -> None:
        """Shows what went wrong."""
        self._status.stop()
        self._console.print(text, style="bold red", markup=False)

    def evaluation(self, result: EvaluationResult, title: str) -> None:
        """Shows a model's scores."""
        table = Table(title=title, title_justify="left", show_footer=True)
        table.add_column("genre", footer="all")
        table.add_column("tracks", str(sum(row.support for row in result.genres)), justify="right")
        for name in ("precision", "recall", "F1"):
            table.add_column(name, justify="right")
        for row in result.genres:
            table.add_row(escape(row.genre), str(row.support), *map(_score, (row.precision, row.recall, row.f1)))
        self._console.print(table)
        self.line(
            f"accuracy {_score(result.accuracy)} (the most frequent genre alone: {_score(result.majority_share)}),"
            f" macro F1 {_score(result.macro_f1)}"
        )


def _score(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


class _MessageHandler(logging.Handler):
    """Passes the components' own messages to the terminal."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "progress", False):
            component = record.name.rpartition(".")[2]
            self._terminal.moment(f"{component}: {record.getMessage()}")
        else:
            self._terminal.line(f"  {record.getMessage()}")


def _send_logs_to(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(logging.INFO)
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
