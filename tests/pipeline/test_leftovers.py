"""What executions that did not end well have left, as the next run removes it."""

from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline.metadata.leftovers import remove_leftovers
from pipeline.metadata.store import PatientMetadata

pytestmark = pytest.mark.fast

_RUN = metadata_store_pb2.Execution
_BADLY = (_RUN.RUNNING, _RUN.FAILED, _RUN.CANCELED, _RUN.NEW)


def test_what_ended_badly_goes_and_nothing_of_another_run(tmp_path: Path) -> None:
    connection = sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with PatientMetadata(connection) as handle:
        kind = handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="Trainer"))
        states = [_RUN.COMPLETE, _RUN.CACHED, *_BADLY * 5]
        numbers = handle.store.put_executions([_RUN(type_id=kind, last_known_state=state) for state in states])
        _associate(handle.store, {"pipeline_run": "mine", "pipeline": "small"}, numbers)
    artifacts = tmp_path / "artifacts"
    for number in numbers:
        for name in ("mine", "of-lost-metadata"):
            for key in ("model", "model_run"):
                (artifacts / name / "Trainer" / key / str(number)).mkdir(parents=True)
    (artifacts / "mine" / "Trainer" / ".system" / "executor_execution" / "3").mkdir(parents=True)
    remove_leftovers(str(artifacts), connection, "small")
    left = {str(path.relative_to(artifacts / "mine" / "Trainer")) for path in (artifacts / "mine").rglob("*[0-9]")}
    assert left == {f"{key}/{number}" for key in ("model", "model_run") for number in numbers[:2]}
    assert len(list((artifacts / "of-lost-metadata").rglob("*[0-9]"))) == 2 * len(numbers)


def test_a_run_of_another_name_in_the_same_database_goes_on(tmp_path: Path) -> None:
    connection = sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with PatientMetadata(connection) as handle:
        kind = handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="Trainer"))
        own, other = handle.store.put_executions([_RUN(type_id=kind, last_known_state=_RUN.RUNNING)] * 2)
        _associate(handle.store, {"pipeline_run": "mine", "pipeline": "small"}, [own])
        _associate(handle.store, {"pipeline_run": "theirs", "pipeline": "large"}, [other])
    folders = [tmp_path / "artifacts" / run / "Trainer" / "model" / str(other) for run in ("mine", "theirs")]
    for folder in folders:
        folder.mkdir(parents=True)
    remove_leftovers(str(tmp_path / "artifacts"), connection, "small")
    with PatientMetadata(connection) as handle:
        states = [execution.last_known_state for execution in handle.store.get_executions_by_id([own, other])]
    assert states == [_RUN.CANCELED, _RUN.RUNNING]
    assert all(folder.is_dir() for folder in folders)


def _associate(store: Any, names: dict[str, str], executions: list[int]) -> None:
    for kind, name in names.items():
        type_id = store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        (context,) = store.put_contexts([metadata_store_pb2.Context(type_id=type_id, name=name)])
        store.put_attributions_and_associations(
            [], [metadata_store_pb2.Association(context_id=context, execution_id=each) for each in executions]
        )
