"""Airflow's processes on one machine, started again when they end, as the scheduler does without its database."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

SERVICES = (
    # Logs are read from the folder that all of them share. Airflow would serve them on every interface, too.
    ("airflow", "scheduler", "--skip-serve-logs"),
    ("airflow", "dag-processor"),
    ("airflow", "triggerer", "--skip-serve-logs"),
    ("airflow", "api-server"),
)
"""What ``airflow standalone`` runs, too, and does not start again."""

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 5.0
_STOP_SECONDS = 20.0


class PortTaken(Exception):
    """Something listens where Airflow's server is to."""


def supervise(commands: Sequence[Sequence[str]], environment: Mapping[str, str], address: str) -> None:
    """Runs commands, each anew when it ends, until this process gets SIGINT or SIGTERM; then ends all of them.

    Args:
        commands: what to run.
        environment: of all of them.
        address: of the server that one of them is; it is told when that answers and a scheduler is alive.

    Raises:
        PortTaken: something answers there already.
    """
    _refuse_taken_port(address)
    with _stopped() as stop:
        services = [_Service(command, environment) for command in commands]
        told = False
        try:
            while not stop:
                for service in services:
                    service.look_after()
                if not told and _healthy(address):
                    print(f"Airflow is ready: {address}", flush=True)
                    told = True
                time.sleep(_LOOK_SECONDS)
        finally:
            print("Stopping Airflow", flush=True)
            _end(services)


class _Service:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._ended: float | None = None
        self._orphans: list[int] = []
        self.process = self._start()

    def look_after(self) -> None:
        """Starts the process again, some seconds after it has ended."""
        code = self.process.poll()
        if code is None:
            return
        if self._ended is None:
            self._ended = time.monotonic()
            # Of a scheduler that was killed, tasks go on and come to their end; its idle workers stay for ever.
            if _members(self.process.pid):
                self._orphans.append(self.process.pid)
            print(f"{' '.join(self._command[:2])} ended with {code}; starting it again", flush=True)
        elif time.monotonic() - self._ended >= _PAUSE_SECONDS:
            self._ended = None
            self.process = self._start()

    def kill(self) -> None:
        """Ends at once what is left of the process, of its earlier ones, and of what they have started."""
        for session in (*self._orphans, self.process.pid):
            for member in _members(session):
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C in the terminal is this process's to pass on, once.
        return subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True)


@contextmanager
def _stopped() -> Iterator[list[int]]:
    """A list that a signal which asks for the end puts its number into."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(services: Sequence[_Service]) -> None:
    for service in services:
        service.process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for service in services:
        # A scheduler would wait for hours, until its last task is done; the next run takes what is finished.
        with suppress(subprocess.TimeoutExpired):
            service.process.wait(max(0.0, deadline - time.monotonic()))
        service.kill()


def _members(session: int) -> list[int]:
    """The processes of a session, as Linux tells them; elsewhere none."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name) state parent group session …, and the name may hold anything.
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(status.parent.name))
    return members


def _refuse_taken_port(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        if probe.connect_ex((host, int(port))) == 0:
            raise PortTaken(
                f"Something listens on {address} already, perhaps an Airflow that was killed: end it, or set"
                " AIRFLOW__API__PORT."
            )


def _healthy(address: str) -> bool:
    try:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=2)
        connection.request("GET", "/api/v2/monitor/health")
        health = json.load(connection.getresponse())
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return all(health[name]["status"] == "healthy" for name in ("metadatabase", "scheduler"))
