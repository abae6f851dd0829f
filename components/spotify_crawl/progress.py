"""How a crawl shows how it goes: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

_TICK_SECONDS = 1.0
_LONG_WAIT_SECONDS = 10.0
_FIRST_LINE_SECONDS = 5.0
_BAR_WIDTH = 12
"""So that a line fits 80 columns."""


class Progress(Protocol):
    """Who is told how a crawl goes."""

    def phase(self, name: str, total: int, stored: int = 0) -> None:
        """Something new begins, of so many steps, of which some were done by an earlier crawl."""

    def advance(self, stored: bool) -> None:
        """A step is done: there, or passed over."""

    def detail(self, text: str) -> None:
        """How far the step is that takes long."""

    def wait(self, reason: str, seconds: float) -> None:
        """Waits and shows it."""


class BarProgress:
    """A bar with rate, remaining time and counts; a context manager."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(_BAR_WIDTH),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            _Counts(),
            console=console,
            speed_estimate_period=300,
        )
        self._stored = 0
        self._passed_over = 0

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def phase(self, name: str, total: int, stored: int = 0) -> None:
        """See :class:`Progress`."""
        self._stored, self._passed_over = stored, 0
        self._task = self._bar.add_task(name, total=total, completed=stored, stored=stored, passed_over=0, waiting="")

    def advance(self, stored: bool) -> None:
        """See :class:`Progress`."""
        self._stored += stored
        self._passed_over += not stored
        self._bar.update(self._task, advance=1, stored=self._stored, passed_over=self._passed_over, waiting="")

    def detail(self, text: str) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, waiting=text)

    def wait(self, reason: str, seconds: float) -> None:
        """See :class:`Progress`."""
        _count_down(seconds, lambda left: self._bar.update(self._task, waiting=f"{reason}, waiting {_duration(left)}"))
        self._bar.update(self._task, waiting="")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class _Counts(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.fields["waiting"]:
            return Text(task.fields["waiting"], style="yellow")
        return Text(f"stored {task.fields['stored']:,}, passed over {task.fields['passed_over']:,}")


class LineProgress:
    """A line when something begins, then ever more rarely, and a text for the moment."""

    def __init__(self, line: Callable[[str], Any], moment: Callable[[str], Any], every_seconds: float) -> None:
        """Makes it.

        Args:
            line: shows a text for good.
            moment: shows a text until the next one.
            every_seconds: the longest time between lines, once it is going on for long.
        """
        self._line = line
        self._moment = moment
        self._every_seconds = every_seconds
        self._last = time.monotonic()
        self._until_next = min(_FIRST_LINE_SECONDS, every_seconds)

    def phase(self, name: str, total: int, stored: int = 0) -> None:
        """See :class:`Progress`."""
        self._name, self._total, self._before = name, total, stored
        self._stored, self._passed_over = stored, 0
        self._start = time.monotonic()
        what = name.removesuffix("s") if total == 1 else name
        self._line(f"{total:,} {what}{f', {stored:,} of them stored before' if stored else ''}")

    def advance(self, stored: bool) -> None:
        """See :class:`Progress`."""
        self._stored += stored
        self._passed_over += not stored
        self._show(self._text())

    def detail(self, text: str) -> None:
        """See :class:`Progress`."""
        self._show(text)

    def _show(self, text: str) -> None:
        self._moment(text)
        now = time.monotonic()
        if now - self._last >= self._until_next:
            self._last = now
            self._until_next = min(2 * self._until_next, self._every_seconds)
            self._line(text)

    def wait(self, reason: str, seconds: float) -> None:
        """See :class:`Progress`."""
        if seconds >= _LONG_WAIT_SECONDS:
            self._line(f"{reason}, waiting {_duration(seconds)}")
        _count_down(seconds, lambda left: self._moment(f"{reason}, waiting {_duration(left)}"))

    def _text(self) -> str:
        done = self._stored + self._passed_over
        rate = (done - self._before) / max(time.monotonic() - self._start, 1e-3)
        return (
            f"{done:,} of {self._total:,} {self._name}, {rate:.1f}/s, {_duration((self._total - done) / rate)} left;"
            f" stored {self._stored:,}, passed over {self._passed_over:,}"
        )


def _count_down(seconds: float, show: Callable[[float], Any]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        show(left)
        time.sleep(min(_TICK_SECONDS, left))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
