"""ML Metadata's database, while another process keeps it locked."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ml_metadata.errors import AbortedError
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config

from pipeline.metadata.database_file import MetadataLocked, await_unlocked
from pipeline.metadata.store import PatientMetadata

_HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("locked", flush=True)
time.sleep(float(sys.argv[3]))
"""


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


def test_writes_that_are_aborted_are_tried_more_often_than_the_library_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "metadata.sqlite"
    connection = sqlite_metadata_connection_config(str(file))
    # Its own five tries take a quarter of a minute, one some three seconds.
    connection.retry_options.max_num_retries = 1
    kind = metadata_store_pb2.ExecutionType(name="some")
    with Metadata(connection) as handle, _locked(file, "EXCLUSIVE", 60), pytest.raises(AbortedError):
        handle.store.put_execution_type(kind)
    with PatientMetadata(connection) as handle:
        with _locked(file, "EXCLUSIVE", 4):
            handle.store.put_execution_type(kind)
        assert [found.name for found in handle.store.get_execution_types()] == ["some"]


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
