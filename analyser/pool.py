"""Analyses many sound files on all cores, before they are read one by one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from analyser.cache import cached_analysis, is_cached, reject
from analyser.decode import InvalidAudio

_FEW = 4
# Pebble's workers answer SIGTERM with its number as their exit code.
_ENDED_FROM_OUTSIDE = (signal.SIGTERM, -signal.SIGTERM, -signal.SIGHUP)
_TOGETHER_A_CORE = 8
_LEAST_SECONDS = 60.0
_SECONDS_A_MEGABYTE = 10.0
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def analyse_ahead(paths: Sequence[str], on_progress: Callable[[int, int], None]) -> None:
    """Fills the cache with the analyses of local files; whoever reads them afterwards finds them there.

    A file that crashes the analyser or takes too long is kept as rejected, and the others go on. What cannot be read at
    all is left to whoever reads it, to say so.

    Args:
        paths: sound files.
        on_progress: is told how many of how many are done, in this order.
    """
    unknown = [path for path in paths if _is_unknown(path)]
    if len(unknown) < _FEW:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(unknown))
    done = len(paths) - len(unknown)
    # Spawned: a copy of a process that has TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPool(workers, initializer=_one_thread, context=context) as pool:
        for start in range(0, len(unknown), workers * _TOGETHER_A_CORE):
            some = [(path, _time_limit(path)) for path in unknown[start : start + workers * _TOGETHER_A_CORE]]
            futures = [pool.schedule(_analyse, (path,), timeout=limit) for path, limit in some]
            for (path, limit), future in zip(some, futures, strict=True):
                try:
                    future.result()
                except FutureTimeoutError:
                    _reject(path, f"it was not analysed within {limit:.0f} s")
                except ProcessExpired as error:
                    # Ended from outside, it says nothing of the file: whoever reads that analyses it.
                    if error.exitcode not in _ENDED_FROM_OUTSIDE:
                        _reject(path, f"it crashed the analyser (exit code {error.exitcode})")
                done += 1
                on_progress(done, len(paths))


def _is_unknown(path: str) -> bool:
    try:
        return not is_cached(Path(path).read_bytes())
    except OSError:
        return False


def _time_limit(path: str) -> float:
    try:
        return _LEAST_SECONDS + _SECONDS_A_MEGABYTE * Path(path).stat().st_size / 1e6
    except OSError:
        return _LEAST_SECONDS


def _one_thread() -> None:
    for name in _THREADS:
        os.environ[name] = "1"


def _analyse(path: str) -> None:
    try:
        cached_analysis(Path(path).read_bytes())
    except (InvalidAudio, OSError):
        return  # Whoever reads the file meets the same, and says so.


def _reject(path: str, reason: str) -> None:
    with suppress(OSError):
        reject(Path(path).read_bytes(), reason)
