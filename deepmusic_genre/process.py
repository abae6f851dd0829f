"""How a command's process begins and ends."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

_NOT_FLUSHED = 120
"""Python's own exit code for that."""

_SIGNALLED = 128
"""What a shell adds a signal's number to."""

PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "PYTHONUSERBASE")
"""What would have this project's Python import another project's packages, or run without docstrings and assertions."""

_LIBRARY_VARIABLES = ("TF_USE_LEGACY_KERAS",)
_STARTING, _TEMPORARY = "deepmusic-starting-", "deepmusic-process-"
_LOCK = "deepmusic-process.lock"


class Stopped(KeyboardInterrupt):
    """Somebody stopped the process by a signal other than Ctrl-C's.

    Attributes:
        signal: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


_received: list[Stopped] = []


def run_process(main: Callable[[], int]) -> NoReturn:
    """Runs a command to the end of its process.

    SIGTERM and SIGHUP raise :class:`Stopped` in it, as Ctrl-C raises KeyboardInterrupt.

    The process ends without the destructors of C++ libraries. TensorFlow, Arrow and gRPC leave threads behind, and now
    and then one of them aborts a process that takes itself apart: SIGABRT in place of the command's exit code, with all
    work done. Exit functions run that were registered since the call, not those from before it.

    Args:
        main: answers with the exit code. What it raises ends the process as it does any other.
    """
    code: int | None = None

    def leave() -> None:
        if code is None:
            return
        logging.shutdown()
        os._exit(code if _flush() else _NOT_FLUSHED)

    # The first one registered runs last: before it come those of the libraries that main imports.
    atexit.register(leave)
    stop_on_signals()
    code = main()
    sys.exit(code)


def run_checkout_process(main: Callable[[], int]) -> NoReturn:
    """Like :func:`run_process`, for a command whose result depends on nothing but the project, its data and settings.

    See :func:`isolate` and :func:`own_temporary_folder`.
    """
    isolate()
    run_process(lambda: _in_own_temporary_folder(main))


def isolate() -> None:
    """Keeps settings of other projects, in the environment and the home folder, out of this process and its children.

    Starts the process again if variables for Python have changed what it imports.
    """
    named = [name for name in PYTHON_VARIABLES if name in os.environ]
    for name in (*named, *_LIBRARY_VARIABLES):
        os.environ.pop(name, None)
    # Another project may have told Keras, in the home folder, to use another backend or to turn images around.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = str(Path(sys.prefix) / "share" / "keras")
    os.environ["PYTHONNOUSERSITE"] = "1"
    if named and not sys.flags.ignore_environment:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Gives the process's temporary files a folder of their own, and removes it; after a kill the next process does."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    starting = Path(tempfile.mkdtemp(prefix=_STARTING))
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with (starting / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Not before it is locked: another process would take it for abandoned.
        folder = starting.rename(starting.with_name(starting.name.replace(_STARTING, _TEMPORARY)))
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before[0]
            if before[1] is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before[1]
            shutil.rmtree(folder, ignore_errors=True)


def received_stop() -> KeyboardInterrupt | None:
    """What stopped this process, if a signal did: libraries wrap what is raised in them, and lose what it was."""
    return _received[-1] if _received else None


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """What a process ends with that somebody stopped: 128 and the signal's number."""
    return _SIGNALLED + (stop.signal if isinstance(stop, Stopped) else signal.SIGINT)


def words_for(stop: KeyboardInterrupt) -> str:
    """What is told of a stop."""
    return f"Stopped by {stop.signal.name}." if isinstance(stop, Stopped) else "Interrupted."


def stop_on_signals() -> None:
    """Has SIGTERM and SIGHUP raise :class:`Stopped` in this process, but not in its forks."""
    process = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            _received.append(Stopped(number))
            raise _received[-1]
        # A forked worker is ended by who forked it.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Who starts a command with nohup means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _in_own_temporary_folder(main: Callable[[], int]) -> int:
    with own_temporary_folder():
        return main()


def _remove_abandoned(folder: Path) -> None:
    """Removes the folders of this user's processes that were killed: nobody holds their locks any more."""
    for file in folder.glob(f"{_TEMPORARY}*/{_LOCK}"):
        with suppress(OSError):
            if not file.is_file() or file.is_symlink() or file.stat().st_uid != os.getuid():
                continue
            with file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(file.parent, ignore_errors=True)


def _flush() -> bool:
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # As it is where the caller has closed it.
                stream.flush()
    except OSError:
        return False
    return True
