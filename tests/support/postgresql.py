"""A real PostgreSQL, started by the tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import free_port

USER = "deepmusic"
PASSWORD = "hush'hush \\ 1"  # noqa: S105 - of a server that lives as long as a test.
"""Of characters that have a meaning in what clients parse."""

_UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class PostgreSQL:
    """A server on this machine, whose databases are in a folder of their own."""

    programs: Path
    folder: Path
    port: int

    def address(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -p {self.port}"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def control(self, *arguments: str) -> None:
        self.run("pg_ctl", "-w", "-t", "300", "-D", str(self.folder / "data"), *arguments)

    def dump(self, database: str) -> str:
        """All that a database holds, as SQL."""
        server = ("--host=127.0.0.1", f"--port={self.port}", f"--username={USER}")
        return self.run("pg_dump", *server, database)

    def run(self, program: str, *arguments: str) -> str:
        # It refuses to run as root.
        user = _UNPRIVILEGED if os.geteuid() == 0 else None
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"}
        output = self.folder / "output"
        with output.open("w+") as written:
            # No pipe: the server would hold it open.
            subprocess.run(
                [self.programs / program, *arguments],
                user=user,
                cwd=self.folder,
                env=environment,
                stdout=written,
                stderr=written,
                check=True,
            )
            written.seek(0)
            return written.read()


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """Starts a server that asks for a password; skips the test where there is no PostgreSQL."""
    programs = _programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server: Debian's package postgresql has one")
    with TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        yield from _running(PostgreSQL(programs, Path(folder), free_port()))


def _running(server: PostgreSQL) -> Iterator[PostgreSQL]:
    folder = server.folder
    if os.geteuid() == 0:
        shutil.chown(folder, _UNPRIVILEGED)
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    made = ("-D", str(folder / "data"), f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256")
    server.run("initdb", *made, "--no-sync", "--encoding=UTF8")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _programs() -> Path | None:
    on_path = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    return next(iter([*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *on_path]), None)
