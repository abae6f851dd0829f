"""What executions that did not end well have left, as the next run removes it."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline.metadata.leftovers import remove_leftovers
from pipeline.metadata.store import PatientMetadata

_RUN = metadata_store_pb2.Execution
_BADLY = (_RUN.RUNNING, _RUN.FAILED, _RUN.CANCELED, _RUN.NEW)


def test_what_ended_badly_goes_and_its_folders_are_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with PatientMetadata(connection) as handle:
        kind = handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="Trainer"))
        states = [_RUN.COMPLETE, _RUN.CACHED, *_BADLY * 5]
        numbers = handle.store.put_executions([_RUN(type_id=kind, last_known_state=state) for state in states])
    for number in numbers:
        for key in ("model", "model_run", ".system/executor_execution"):
            (tmp_path / "artifacts" / "Trainer" / key / str(number)).mkdir(parents=True)
    glob = Mock(wraps=fileio.glob)
    monkeypatch.setattr(fileio, "glob", glob)
    remove_leftovers(str(tmp_path / "artifacts"), connection, "mine")
    left = {str(path.relative_to(tmp_path / "artifacts" / "Trainer")) for path in tmp_path.rglob("*[0-9]")}
    well = numbers[:2]
    assert left == {
        f"{key}/{number}" for key in ("model", "model_run", ".system/executor_execution") for number in well
    }
    assert glob.call_count == 2
