"""Commands in processes that need not import TFX: one process has imported it, and forks.

Importing TFX takes as long as many a run of a test's few tracks. The process is started by whoever asks first, and
shared by all of pytest's workers.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from deepmusic_genre.process import PYTHON_VARIABLES

ROOT = Path(__file__).parents[2]
SOCKET = "DEEPMUSIC_TEST_FORKS"
"""Environment variable: the socket on which the process listens; its lock and its log are beside it."""

_START_SECONDS = 180
_MESSAGE_BYTES = 1 << 20
_SET_PARENT_DEATH_SIGNAL = 1
_NUMBER = struct.Struct("!i")
_PRELOADED = (
    "keras",
    "pipeline.airflow.steps",
    "pipeline.metadata.cleaning",
    "pipeline.run.local_runner",
    "pipeline.run.outcome",
    "pipeline.run.preparation",
    "serving.batch.run",
    "tensorflow_data_validation",
    "tfx.components.tuner.component",
)


def run(
    module: str, arguments: Sequence[str], timeout: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m module`` from the project's folder, in a process that has imported TFX already.

    Raises:
        subprocess.TimeoutExpired: it took too long, and was killed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors, _connected() as connection:
        command = {
            "module": module,
            "arguments": list(arguments),
            "environment": {**os.environ, **(environment or {})},
        }
        with Path(os.devnull).open() as nothing:
            descriptors = [stream.fileno() for stream in (nothing, out, errors)]
            socket.send_fds(connection, [json.dumps(command).encode() + b"\n"], descriptors)
        process = _number(connection)
        connection.settimeout(timeout)
        try:
            code = _number(connection)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired([module, *arguments], timeout, _written(out)) from None
        return subprocess.CompletedProcess([module, *arguments], code, _written(out), _written(errors))


def _written(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def _number(connection: socket.socket) -> int:
    received = connection.recv(_NUMBER.size, socket.MSG_WAITALL)
    (number,) = _NUMBER.unpack(received)
    return int(number)


def _connected() -> socket.socket:
    path = Path(os.environ[SOCKET])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _start(path)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def _start(path: Path) -> None:
    with path.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    path.with_suffix(".pid").write_text(str(process.pid))
    end = time.monotonic() + _START_SECONDS
    while not path.exists():
        assert process.poll() is None, path.with_suffix(".log").read_text()
        assert time.monotonic() < end, "the process that imports TFX for all tests does not come up"
        time.sleep(0.05)


def stop(path: Path) -> None:
    """Ends the process, if it was started."""
    file = path.with_suffix(".pid")
    if file.exists():
        # It may have ended with the worker that started it.
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def _end_with_parent() -> None:
    """Has Linux kill this process when its parent ends, as when pytest is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _serve(path: str) -> None:
    _end_with_parent()
    from importlib import import_module

    from deepmusic_genre.process import isolate
    from deepmusic_genre.quiet import silent_import

    isolate()
    with silent_import():
        for module in _PRELOADED:
            import_module(module)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.new")
    listening.listen()
    Path(f"{path}.new").rename(path)
    # Nobody waits for those that wait for commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        _end_with_parent()
        listening.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _wait_for_command(connection)


def _wait_for_command(connection: socket.socket) -> None:
    message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(_MESSAGE_BYTES)
    process = os.fork()
    if not process:
        _end_with_parent()
        connection.close()
        _become(json.loads(message), descriptors)
        return
    connection.sendall(_NUMBER.pack(process))
    _, status = os.waitpid(process, 0)
    connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(command: dict[str, object], descriptors: Sequence[int]) -> None:
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update({str(name): str(value) for name, value in dict(command["environment"]).items()})  # type: ignore[call-overload]
    for name in PYTHON_VARIABLES:
        os.environ.pop(name, None)  # They would have the process start again, and this one cannot.
    tempfile.tempdir = None
    sys.argv = ["", *map(str, command["arguments"])]  # type: ignore[call-overload]
    runpy.run_module(str(command["module"]), run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
