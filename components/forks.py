"""Work in a process of its own, forked from this one.

What it has allocated goes back to the system when it ends, and several use several cores. A fork costs milliseconds,
where a new process imports TensorFlow for seconds. It is safe for as long as this process runs nothing of TensorFlow,
Beam or a store's client: their threads would be missing in the fork.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import queue
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from deepmusic_genre.process import stop_on_signals

Work = Callable[[], bytes]
Heard = Callable[[logging.LogRecord], None]

_SET_PARENT_DEATH_SIGNAL = 1
_STOP_SECONDS = 5


class Died(RuntimeError):
    """A process ended, and its work had not."""


class _Trace(Exception):
    """Where something was raised, as text: traces do not leave their process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Forks:
    """Processes that work, each for as long as its work lasts."""

    def __init__(self) -> None:
        """Begins without any."""
        self._running: set[BaseProcess] = set()
        self._stopped = False

    def start(self, work: Work) -> Callable[[Heard], bytes]:
        """Forks a process. No other thread may hold a lock that the work needs.

        Args:
            work: what it does and answers.

        Returns:
            What waits for the answer. It passes on what is logged meanwhile, raises what the work raised, and
            :class:`Died` if the process ended before.
        """
        if self._stopped:
            raise Died("it was stopped before it began")
        receiving, sending = multiprocessing.Pipe(duplex=False)
        # A collection in the fork would write to every object that is here, and so copy it.
        gc.freeze()
        process = multiprocessing.get_context("fork").Process(target=_work, args=(work, sending))
        process.start()
        sending.close()
        self._running.add(process)

        def answer(hear: Heard) -> bytes:
            try:
                return _answer(receiving, hear)
            except EOFError:
                process.join()
                raise Died(_end_of(process)) from None
            finally:
                receiving.close()
                process.join()
                self._running.discard(process)

        return answer

    def stop(self, number: int, seconds: float) -> None:
        """Ends all of them, and lets none begin.

        Args:
            number: the signal that asks them to.
            seconds: how long each may take before it is killed.
        """
        self._stopped = True
        running = list(self._running)
        for process in running:
            _signal(process, number)
        for process in running:
            process.join(seconds)
            _signal(process, signal.SIGKILL)


def all_done(works: Sequence[Callable[[], None]]) -> None:
    """Has several things done at the same time, each in a fork; what they log is logged here.

    Raises:
        Exception: what the first of them raised that did; the others are stopped.
    """
    forks = Forks()
    # All of them before there are threads.
    answers = [forks.start(partial(_done, work)) for work in works]
    with ThreadPoolExecutor(len(works)) as threads:
        try:
            for ended in as_completed([threads.submit(answer, _log_here) for answer in answers]):
                ended.result()
        except BaseException:
            forks.stop(signal.SIGTERM, _STOP_SECONDS)
            raise


def _done(work: Callable[[], None]) -> bytes:
    work()
    return b""


def _log_here(record: logging.LogRecord) -> None:
    logging.getLogger(record.name).handle(record)


def _answer(receiving: Connection, hear: Heard) -> bytes:
    while isinstance(message := receiving.recv(), logging.LogRecord):
        hear(message)
    answer, error, trace = message
    if error is not None:
        raise error from _Trace(trace)
    return bytes(answer)


def _work(work: Work, sending: Connection) -> None:
    _belong_to_parent()
    sender = _Sender(sending)
    _log_to(sender)
    message: tuple[bytes, BaseException | None, str]
    try:
        message = work(), None, ""
    except KeyboardInterrupt:
        message = b"", Died("it was stopped"), ""
    except BaseException as error:  # Whatever it is, the parent process raises it.
        message = b"", _portable(error), traceback.format_exc()
    sender.acquire()
    sending.send(message)


def _belong_to_parent() -> None:
    """Ends with the parent process, and is stopped by it alone: Ctrl-C goes to a terminal's whole group."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop_on_signals()


def _log_to(handler: logging.Handler) -> None:
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in loggers:
        logger.handlers = []
    logging.root.handlers = [handler]


class _Sender(QueueHandler):
    """Sends records to the parent process."""

    def __init__(self, sending: Connection) -> None:
        super().__init__(queue.SimpleQueue())
        self._sending = sending

    def enqueue(self, record: logging.LogRecord) -> None:
        self._sending.send(record)


def _portable(error: BaseException) -> BaseException:
    """An exception that the parent process can have; of one that cannot be sent, what it says."""
    try:
        same: Any = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # A class's own code makes the copy, and may raise anything.
        return RuntimeError(f"{type(error).__name__}: {error}")
    return same if isinstance(same, BaseException) else RuntimeError(str(error))


def _signal(process: BaseProcess, number: int) -> None:
    # Whoever waits for the answer may notice first that it has ended.
    with suppress(ProcessLookupError):
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)


def _end_of(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return "its process was killed, perhaps because memory was short"
    return f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with code {code}"
