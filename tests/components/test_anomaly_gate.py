import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel

from components.anomaly_gate.anomalies import DATASET, describe
from components.anomaly_gate.component import AnomalyGate
from components.anomaly_gate.executor import Executor
from deepmusic_genre.errors import PipelineInputError

pytestmark = pytest.mark.fast

SCHEMA = """
feature { name: "timbre_01" type: FLOAT presence { min_fraction: 1 } float_domain { min: 0 max: 100 } }
feature { name: "pitch_C" type: FLOAT presence { min_fraction: 1 } float_domain { min: 0 max: 1 } }
"""


def _anomalies(timbre: float, pitch: float) -> anomalies_pb2.Anomalies:
    frame = pd.DataFrame({"timbre_01": [50.0, timbre], "pitch_C": [0.5, pitch]})
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    return tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(frame), schema)


def _artifact(uri: Path, anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> standard_artifacts.ExampleAnomalies:
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(uri)
    artifact.split_names = artifact_utils.encode_split_names(list(anomalies))
    for split, found in anomalies.items():
        folder = uri / f"Split-{split}"
        folder.mkdir(parents=True)
        (folder / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    return artifact


def _run(folder: Path, anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> Path:
    schema, approved = standard_artifacts.Schema(), standard_artifacts.Schema()
    schema.uri, approved.uri = str(folder / "schema"), str(folder / "approved")
    for uri in (schema.uri, approved.uri):
        Path(uri).mkdir()
    (folder / "schema" / "track.pbtxt").write_text(SCHEMA)
    inputs = {"anomalies": [_artifact(folder / "anomalies", anomalies)], "schema": [schema]}
    Executor().Do(inputs, {"approved_schema": [approved]}, {})
    return folder / "approved" / "track.pbtxt"


def test_the_schema_is_handed_on_when_the_data_agree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        approved = _run(tmp_path, {"train": _anomalies(60, 0.1), "test": _anomalies(1, 1)})
    assert approved.read_text() == SCHEMA
    assert "no anomalies in train, test" in caplog.text


def test_an_anomaly_stops_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError) as stopped:
        _run(tmp_path, {"train": _anomalies(60, 0.1), "test": _anomalies(60, 1.7)})
    lines = str(stopped.value).splitlines()
    assert lines[1].startswith("  test: pitch_C: Unexpectedly high value: 1.7>1")
    assert not any("train:" in line or "timbre_01" in line for line in lines)
    assert not (tmp_path / "approved" / "track.pbtxt").exists()


def test_every_anomaly_has_a_line() -> None:
    lines = describe({"train": _anomalies(500, 1.7), "validation": _anomalies(-3, 0)})
    assert [line.split(": ")[:2] for line in lines] == [
        ["train", "pitch_C"],
        ["train", "timbre_01"],
        ["validation", "timbre_01"],
    ]


def test_an_anomaly_of_the_whole_split_is_told() -> None:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "There are too few examples."
    assert describe({"train": anomalies}) == [f"train: {DATASET}: There are too few examples."]


def test_what_comes_later_can_depend_on_the_approval() -> None:
    gate = AnomalyGate(
        anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        schema=Channel(type=standard_artifacts.Schema),
    )
    assert gate.outputs["approved_schema"].type is standard_artifacts.Schema
