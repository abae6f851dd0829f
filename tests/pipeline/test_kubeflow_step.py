"""The command of a step's container, where Kubeflow does otherwise than TFX expects."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.storage.staging import Staging
from deepmusic_genre.exit_codes import GATE
from pipeline.kubeflow import step
from pipeline.kubeflow.inputs import join_parts, part_of
from tests.conftest import ROOT

IMPORT = "tfx.components.schema_gen.import_schema_gen.executor.Executor"
CHECK = "components.anomaly_gate.executor.Executor"


def _artifact(uri: str, title: str, **metadata: Any) -> dict[str, Any]:
    return {
        "artifacts": [{"name": uri, "type": {"instanceSchema": f"title: {title}"}, "uri": uri, "metadata": metadata}]
    }


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Kubeflow's launcher has the bucket ``minio://store``."""
    monkeypatch.setattr(step, "MOUNTS", Staging({"minio://": f"{tmp_path}/minio/"}))
    return tmp_path / "minio" / "store"


def _gate(bucket: Path, anomaly: str | None) -> list[str]:
    """The flags of an AnomalyGate that is to read from and to write to ``minio://store``."""
    found = anomalies_pb2.Anomalies()
    if anomaly:
        found.anomaly_info["timbre_07"].description = anomaly
    (bucket / "anomalies" / "Split-train").mkdir(parents=True)
    (bucket / "anomalies" / "Split-train" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    (bucket / "schema").mkdir()
    (bucket / "schema" / "schema.pbtxt").write_text("")
    asked = {
        "inputs": {
            "artifacts": {
                "anomalies": _artifact("minio://store/anomalies", "tfx.ExampleAnomalies", split_names='["train"]'),
                "schema": _artifact("minio://store/schema", "tfx.Schema"),
            },
            "parameterValues": {"code_version": "1"},
        },
        "outputs": {
            "artifacts": {"approved_schema": _artifact("minio://store/run/approved", "tfx.Schema")},
            "outputFile": str(bucket.parent / "outputs" / "executor_output.json"),
        },
    }
    declared = json.dumps({"parameters": {"code_version": {"parameterType": "STRING"}}})
    return [
        *("--component=AnomalyGate", "--executor_class_path", CHECK),
        *("--json_serialized_invocation_args", json.dumps(asked)),
        *("--json_serialized_inputs_spec_args", declared),
    ]


def test_an_object_store_is_read_and_written_where_the_launcher_has_it(bucket: Path) -> None:
    assert step.main(_gate(bucket, None)) == 0
    assert (bucket / "run" / "approved" / "schema.pbtxt").is_file()
    told = json.loads((bucket.parent / "outputs" / "executor_output.json").read_text())
    (approved,) = told["artifacts"]["approved_schema"]["artifacts"]
    assert approved["uri"] == "minio://store/run/approved"
    assert approved["name"] == "minio://store/run/approved"
    assert approved["metadata"]["component"] == "AnomalyGate"


def test_what_a_try_that_was_killed_left_is_removed(bucket: Path) -> None:
    (bucket / "run" / "approved").mkdir(parents=True)
    (bucket / "run" / "approved" / "half.pbtxt").touch()
    assert step.main(_gate(bucket, None)) == 0
    assert [file.name for file in (bucket / "run" / "approved").iterdir()] == ["schema.pbtxt"]


def test_a_gate_that_stops_is_told_in_lines_without_a_trace(bucket: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert step.main(_gate(bucket, "Too large.")) == GATE
    told = capfd.readouterr().err
    assert "AnomalyGate: The data does not agree with the schema" in told
    assert "train: timbre_07: Too large." in told
    assert "Traceback" not in told


def test_what_is_no_fault_of_the_input_leaves_a_trace_and_a_line(
    bucket: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = _gate(bucket, None)
    (bucket / "schema" / "schema.pbtxt").unlink()
    assert step.main(arguments) == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("AnomalyGate: failed, ")


def test_a_driver_says_what_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = {
        "inputs": {"parameterValues": {"schema_file": str(tmp_path / "none.pbtxt")}},
        "outputs": {
            "artifacts": {"schema": _artifact(str(tmp_path / "schema"), "tfx.Schema")},
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }
    arguments = [
        *(
            "--component=SchemaImport",
            "--executor_class_path",
            "tfx.components.schema_gen.import_schema_gen.executor.Executor",
        ),
        *("--driver_class_path", "components.schema_import.driver.SchemaDriver"),
        *("--json_serialized_invocation_args", json.dumps(asked)),
        *(
            "--json_serialized_inputs_spec_args",
            json.dumps({"parameters": {"schema_file": {"parameterType": "STRING"}}}),
        ),
    ]
    assert step.main(arguments) == 1
    assert (
        capfd.readouterr().err.splitlines()[-1]
        == f"SchemaImport: The schema file {tmp_path / 'none.pbtxt'} is not there."
    )


def test_a_step_ends_with_its_caller(bucket: Path) -> None:
    environment = {**os.environ, step.END_WITH_STDIN: "1"}
    command = [sys.executable, "-m", "pipeline.kubeflow.step", *_gate(bucket, None)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin
        process.stdin.close()
        assert process.wait(timeout=120) == -signal.SIGKILL
    assert not (bucket / "run").exists()


def test_parts_of_an_input_are_put_together_in_their_order() -> None:
    parts = {part_of("models", number): {"artifacts": [number]} for number in (10, 2, 0, 1)}
    artifacts = {**parts, "model": {"artifacts": ["alone"]}, "empty__0": {}, "not__a_part": {"artifacts": ["x"]}}
    join_parts(artifacts)
    assert artifacts == {
        "models": {"artifacts": [0, 1, 2, 10]},
        "model": {"artifacts": ["alone"]},
        "empty": {"artifacts": []},
        "not__a_part": {"artifacts": ["x"]},
    }
