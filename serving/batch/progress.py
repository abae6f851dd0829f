"""How far a run is, seen from the files that it has written: that works for any Beam runner, wherever it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

from components.storage.files import fileio
from components.track_example_gen.catalogue import FILE_ERRORS

Progress = Callable[[str], None]
"""Is told in a line how far a run is."""

_LOOK_S = 0.5


@contextmanager
def watched(parts: str, files: Mapping[str, int], before: int, progress: Progress) -> Iterator[None]:
    """Tells how many files are done, how fast, and how long the others will take, for as long as the context lasts.

    Args:
        parts: the folder that the shards' files appear in.
        files: how many files each shard has, by its key; only those that this run tags.
        before: files that had been tagged before.
        progress: is told.
    """
    start = time.monotonic()
    total = before + sum(files.values())

    def look() -> None:
        while not over.wait(_LOOK_S):
            with suppress(*FILE_ERRORS):  # A remote file system that does not answer now may do so the next time.
                done = sum(files.get(name.partition(".")[0], 0) for name in fileio.listdir(parts))
                progress(f"{before + done:,} of {total:,} files{_pace(done, total - before, time.monotonic() - start)}")

    over = threading.Event()
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _pace(done: int, total: int, seconds: float) -> str:
    if not done:
        return ""
    left = timedelta(seconds=round((total - done) * seconds / done))
    return f", {done / seconds:,.0f} a second, {left} left"
