"""Analyses many sound files on all cores, before they are read one by one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

from pebble import CONSTS, ProcessExpired, ProcessPool

from deepmusic_genre.analyser.cache import cached_analysis, is_cached, reject
from deepmusic_genre.analyser.decode import InvalidAudio

_FEW = 4
# How native code ends a process, or a lack of memory. Any other end comes from outside, and says nothing of the file.
_CRASHES = {-getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL")}
_TOGETHER_A_CORE = 8
_LEAST_SECONDS = 60.0
_SECONDS_A_MEGABYTE = 10.0
# Workers hold the lock for less than a millisecond, and one that was ended from outside may hold it for ever. Who waits
# for so long goes on without it.
_LOCK_SECONDS = 5.0


def analyse_ahead(
    paths: Sequence[str],
    on_progress: Callable[[int, int], None],
    middle: float | None = None,
    pretrained: bool = False,
) -> None:
    """Fills the cache with the analyses of local files; whoever reads them afterwards finds them there.

    A file that crashes the analyser or takes too long is kept as rejected, and the others go on. What cannot be read at
    all is left to whoever reads it, to say so.

    Args:
        paths: sound files.
        on_progress: is told how many of how many are done, in this order.
        middle, pretrained: See :func:`deepmusic_genre.analyser.analysis.analyse`.
    """
    unknown = [path for path in paths if _is_unknown(path, middle, pretrained)]
    if len(unknown) < _FEW:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(unknown))
    done = len(paths) - len(unknown)
    # Spawned: a copy of a process that has TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    # A worker that is ended while it hands over a result may take the pool with it: the rest is left to the reader.
    with suppress(BrokenProcessPool), ProcessPool(workers, initializer=_prepare, context=context) as pool:
        for start in range(0, len(unknown), workers * _TOGETHER_A_CORE):
            for _ in _outcomes(pool, unknown[start : start + workers * _TOGETHER_A_CORE], middle, pretrained):
                done += 1
                on_progress(done, len(paths))


def _prepare() -> None:
    """Prepares a worker; to find this function it imports all that its tasks need, before it holds the lock."""
    CONSTS.channel_lock_timeout = _LOCK_SECONDS


def _outcomes(pool: ProcessPool, paths: Sequence[str], middle: float | None, pretrained: bool) -> Iterator[None]:
    limits = [_time_limit(path) for path in paths]
    futures = [
        pool.schedule(_analyse, (path, middle, pretrained), timeout=limit)
        for path, limit in zip(paths, limits, strict=True)
    ]
    for path, limit, future in zip(paths, limits, futures, strict=True):
        try:
            future.result()
        except FutureTimeoutError:
            _reject(path, f"it was not analysed within {limit:.0f} s", middle)
        except ProcessExpired as error:
            if error.exitcode in _CRASHES:
                _reject(path, f"it crashed the analyser (exit code {error.exitcode})", middle)
        yield


def _is_unknown(path: str, middle: float | None, pretrained: bool) -> bool:
    try:
        return not is_cached(Path(path).read_bytes(), middle, pretrained)
    except OSError:
        return False


def _time_limit(path: str) -> float:
    try:
        return _LEAST_SECONDS + _SECONDS_A_MEGABYTE * Path(path).stat().st_size / 1e6
    except OSError:
        return _LEAST_SECONDS


def _analyse(path: str, middle: float | None, pretrained: bool) -> None:
    try:
        cached_analysis(Path(path).read_bytes(), middle, pretrained)
    except (InvalidAudio, OSError):
        return  # Whoever reads the file meets the same, and says so.


def _reject(path: str, reason: str, middle: float | None) -> None:
    with suppress(OSError):
        reject(Path(path).read_bytes(), reason, middle)
