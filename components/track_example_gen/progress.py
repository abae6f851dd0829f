"""What the person at the terminal sees while files are read."""

from __future__ import annotations

import logging
import time

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

    def __init__(self, parts: int) -> None:
        """Begins with none of ``parts`` read."""
        self._parts = parts
        self._part = 0
        self._tracks = 0
        self._moments = Moments()

    def track_read(self) -> None:
        """Counts a track."""
        self._tracks += 1
        self._moments.show("%s tracks, %d of %d parts read", f"{self._tracks:,}", self._part, self._parts)

    def part_read(self) -> None:
        """Counts a part."""
        self._part += 1
