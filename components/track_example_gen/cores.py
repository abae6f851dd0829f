"""Shards read on all cores: Beam's in-process runner has one thread, and its other modes import TFX once a worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.sharedctypes import RawArray

from components.forks import all_done
from components.storage.places import is_remote
from components.track_example_gen.progress import Progress
from components.track_example_gen.store import Shard
from deepmusic_genre.tracks.audio import AudioFile

_IN_PROCESS = "--runner=FnApiRunner"
_OTHER_MODES = "--direct_"

Work = tuple[str, Shard]
"""A shard, and the folder for it."""


def readers_for(work: Sequence[Work], beam_args: Sequence[str]) -> int:
    """How many forks of this process read shards side by side; 0 where Beam does it.

    Clients of stores do not bear a fork, nor do macOS's own libraries. Sound is analysed on all cores anyway.
    """
    here = _IN_PROCESS in beam_args and not any(argument.startswith(_OTHER_MODES) for argument in beam_args)
    if sys.platform != "linux" or not here:
        return 0
    cores = len(os.sched_getaffinity(0))
    if not 1 < cores < len(work):
        return 0
    paths = [path for folder, shard in work for path in (folder, shard.labels or "", *shard.paths)]
    return 0 if any(is_remote(path) or path.lower().endswith(AudioFile.suffixes) for path in paths) else cores


def read_on_cores(work: Sequence[Work], readers: int, read: Callable[[Work, Progress], None]) -> None:
    """Reads shards, every n-th by each of n forks.

    Raises:
        Exception: what one of them raised; the others are stopped.
    """
    counts = RawArray("q", 2 * readers)

    def part(reader: int) -> None:
        progress = Progress(len(work), counts, reader)
        for each in work[reader::readers]:
            read(each, progress)

    all_done([partial(part, reader) for reader in range(readers)])
