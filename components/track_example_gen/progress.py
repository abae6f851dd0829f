"""What the person at the terminal sees while files are read."""

from __future__ import annotations

import logging
import time
from collections.abc import MutableSequence

_EVERY_S = 0.5

log = logging.getLogger("deepmusic.TrackExampleGen")


class Moments:
    """Shows how far something is, now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _EVERY_S

    def show(self, text: str, *values: object) -> None:
        """Shows a text with values in it, unless one was shown a moment ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_S
            log.info(text, *values, extra={"progress": True})


class Progress:
    """Tells how far the reading is in tracks, too: a dump of thousands of them is one file of one part."""

    def __init__(self, parts: int, counts: MutableSequence[int] | None = None, reader: int = 0) -> None:
        """Begins with none of ``parts`` read.

        Args:
            parts: how many there are.
            counts: tracks and parts read, two numbers a reader, which readers in several processes share.
            reader: the number of this one.
        """
        self._parts = parts
        self._counts = [0, 0] if counts is None else counts
        self._place = 2 * reader
        self._moments = Moments()

    def track_read(self) -> None:
        """Counts a track."""
        self._counts[self._place] += 1
        tracks, parts = (sum(self._counts[place::2]) for place in (0, 1))
        self._moments.show("%s tracks, %d of %d parts read", f"{tracks:,}", parts, self._parts)

    def part_read(self) -> None:
        """Counts a part."""
        self._counts[self._place + 1] += 1
