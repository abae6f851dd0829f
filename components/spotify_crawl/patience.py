"""Tells what is wrong with one thing from what is wrong with everything, by asking for something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.spotify_crawl.api import Unavailable, Unreachable
from components.spotify_crawl.waits import Waits

Probe = Callable[[], object]
"""Asks for one thing, once; raises Unavailable or Unreachable as the API does."""

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0


class Patience:
    """Waits for the end of pauses and outages."""

    def __init__(self, waits: Waits, seconds: float) -> None:
        """Takes how many seconds are waited for in one outage."""
        self.waits = waits
        self._seconds = seconds

    def sit_out(self, probes: Iterator[Probe]) -> bool:
        """Waits until something is answered, with growing pauses.

        Args:
            probes: never end; each asks for something other than what was not answered, if there is something else.

        Returns:
            Whether there was an outage, and not an answer at once.

        Raises:
            Unreachable: nothing was answered for as long as patience lasts.
        """
        waited, pause = 0.0, _FIRST_PAUSE_SECONDS
        while True:
            try:
                next(probes)()
                return waited > 0
            except Unavailable:
                return waited > 0
            except Unreachable as error:
                if waited >= self._seconds:
                    raise
                pause = min(pause, self._seconds - waited)
                self.waits.for_an_answer(pause, error.retry_after)
                waited += max(pause, error.retry_after)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
