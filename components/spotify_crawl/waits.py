"""What a crawl waits for, and what ends it for now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import urllib3

Wait = Callable[[str, float], None]
"""Waits so many seconds for a reason, and shows it."""

WINDOW_SECONDS = 30.0
"""Spotify's rate limit looks at so many seconds: what is waited where it does not say how long."""

_WORTH_KEEPING_SECONDS = 10.0


class CrawlStopped(Exception):
    """The crawl cannot go on for now; the message says why.

    Attributes:
        come_back: when it can, as far as that is known.
        final: whether it cannot later on either.
    """

    def __init__(self, reason: str, come_back: datetime | None = None, final: bool = False) -> None:
        super().__init__(reason)
        self.come_back = come_back
        self.final = final


class Waits:
    """Waits for as long as Spotify asks for, even over the end of a crawl."""

    def __init__(self, wait: Wait, max_wait_seconds: float, keep: Callable[[datetime], None]) -> None:
        """Makes them.

        Args:
            wait: waits, and shows it.
            max_wait_seconds: the longest pause that is waited for; a longer one stops the crawl.
            keep: remembers until when Spotify asked not to be asked.
        """
        self._wait = wait
        self._max_wait_seconds = max_wait_seconds
        self._keep = keep

    def asked_for(self, reason: str, seconds: float, least: float) -> None:
        """Waits for as long as Spotify asks, and no shorter than ``least`` seconds.

        Raises:
            CrawlStopped: it asks for more than the longest pause.
        """
        if seconds >= _WORTH_KEEPING_SECONDS:
            self._keep(_after(seconds))
        self._require_short(seconds)
        self._wait(reason, max(seconds, least))

    def until(self, end: datetime | None) -> None:
        """Waits for the end of a pause that Spotify asked an earlier crawl for; raises as :meth:`asked_for`."""
        seconds = 0.0 if end is None else (end - now()).total_seconds()
        if seconds > 0:
            self._require_short(seconds)
            self._wait("rate limit of an earlier crawl", seconds)

    def for_an_answer(self, seconds: float, asked: float) -> None:
        """Waits before what was not answered is asked for again; raises as :meth:`asked_for`.

        Args:
            seconds: at the least.
            asked: as many as Spotify asks for, 0 for none.
        """
        if asked:
            self.asked_for("no answer", asked, seconds)
        else:
            self._wait("no answer", seconds)

    def _require_short(self, seconds: float) -> None:
        if seconds > self._max_wait_seconds:
            end = _after(seconds)
            raise CrawlStopped(
                f"Spotify asks for a pause of {spoken(seconds)}, until {spoken_time(end)}, which is longer than"
                f" spotify.max_wait_seconds = {self._max_wait_seconds:g}",
                end,
            )


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


def seconds_asked_for(retry_after: str | None) -> float | None:
    """What a header ``Retry-After`` asks for, a number of seconds or a date; None where it says nothing."""
    try:
        # By itself urllib3 cuts what it reads to six hours.
        return urllib3.Retry(retry_after_max=2**63).parse_retry_after(retry_after) if retry_after else None
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def spoken(seconds: float) -> str:
    """A duration for people, in whole minutes from a minute on."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"


def spoken_time(moment: datetime) -> str:
    """A time for people, in UTC."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _after(seconds: float) -> datetime:
    try:
        return now() + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)
