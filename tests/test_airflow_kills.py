"""Steps that are killed, or whose caller is: what goes on, what waits, and what the next try finds."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline.metadata_store import MetadataLocked, PatientMetadata, await_unlocked
from tests.airflow_steps import Steps, steps_of
from tests.conftest import ROOT

_UP_TO_TRANSFORM = ["TrackExampleGen", "StatisticsGen", "SchemaImport", "ExampleValidator", "AnomalyGate", "Transform"]
_HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return steps_of(tmp_path_factory.mktemp("kills"), "models.c1m1.epochs=100000", "models.c1m1.patience=100000")


def _is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def _wait_until_gone(process: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while _is_alive(process):
        assert time.monotonic() < end, f"{process} goes on"
        time.sleep(0.1)


@contextmanager
def _training(steps: Steps, run: Path) -> Iterator[subprocess.Popen[str]]:
    """A step in the middle of a training that would go on for hours."""
    command = steps.command("node", "--run", str(run), "Trainer-c1m1")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        seen = ""
        while "epoch   2" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        yield process
        process.kill()


def test_a_step_ends_with_its_caller_and_the_next_try_starts_from_nothing(steps: Steps) -> None:
    run = steps.begun("orphan")
    steps.nodes(run, *_UP_TO_TRANSFORM)
    models = steps.home / "artifacts" / "Trainer-c1m1" / "model"
    for _ in ("first try", "second try"):
        with _training(steps, run) as process:
            (folder,) = models.iterdir()
            assert not (folder / "half.txt").exists()
            (folder / "half.txt").write_text("what the killed execution had written")
            assert process.stdin is not None
            process.stdin.close()
            _wait_until_gone(process.pid)
        assert process.returncode == -signal.SIGKILL
    # Killed twice, and TFX has not told of the second time.
    with _training(steps, run):
        assert [file.name for folder in models.iterdir() for file in folder.glob("half.txt")] == []


def test_a_second_execution_of_a_component_waits_for_the_first(steps: Steps) -> None:
    run = steps.begun("twice")
    (steps.home / "locks").mkdir(exist_ok=True)
    with (steps.home / "locks" / "SchemaImport").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = steps.command("node", "--run", str(run), "SchemaImport")
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            assert f"Another execution of SchemaImport writes to {steps.home}; waiting for it to end" in told
            assert process.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            rest = process.stdout.read()
    assert process.returncode == 0, rest


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_is_waited_for_and_that_is_told(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "metadata.sqlite"
    connection = sqlite_metadata_connection_config(str(file))
    with PatientMetadata(connection) as handle:
        handle.store.get_executions()
    with _locked(file, mode, 4), caplog.at_level("INFO", "deepmusic"):
        start = time.monotonic()
        with PatientMetadata(connection) as handle:
            handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="some"))
    assert time.monotonic() - start > 3
    assert caplog.text.count(f"{file} is locked by another process; waiting for it") == 1


def test_a_database_that_stays_locked_is_named(tmp_path: Path) -> None:
    file = tmp_path / "metadata.sqlite"
    with _locked(file, "EXCLUSIVE", 60), pytest.raises(MetadataLocked, match=f"{file} has been locked by another"):
        await_unlocked(file, patience=0.2)


def test_writes_that_are_aborted_are_tried_for_minutes(tmp_path: Path) -> None:
    file = tmp_path / "metadata.sqlite"
    with PatientMetadata(sqlite_metadata_connection_config(str(file))) as handle:
        with _locked(file, "EXCLUSIVE", 25):
            handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="some"))
        assert [kind.name for kind in handle.store.get_execution_types()] == ["some"]


@contextmanager
def _locked(file: Path, mode: str, seconds: float) -> Iterator[None]:
    command = [sys.executable, "-c", _HOLDER, str(file), mode, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.kill()


def test_what_a_step_has_started_ends_with_it(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys, time; from pipeline.airflow.steps import _end_with_stdin; _end_with_stdin();"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        assert os.getpgid(child) == process.pid
        process.stdin.close()
        _wait_until_gone(child)
        assert process.wait(30) == -signal.SIGKILL
