"""Served tracks as a log of tf.Examples."""

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.trainer.export import ARRAYS_SIGNATURE, EXAMPLES_SIGNATURE
from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR, SEGMENT_FEATURES
from serving.server.flags import parse_flags
from serving.server.metrics import REQUEST_LOG_COUNT, Metrics
from serving.server.request_log import MAX_QUEUED_BYTES, SUFFIX, LogConfig, RequestLog
from serving.server.signatures import PREDICT_METHOD, Signature, TensorSpec
from serving.server.tracks import TRACK_INPUTS
from tests.conftest import FinishedRun
from tests.support.serving import running, wait_for

ARRAYS = Signature(
    ARRAYS_SIGNATURE, PREDICT_METHOD, {name: TensorSpec(f"{name}:0", tf.float32) for name in ("timbre", "pitches")}, {}
)


def arrays(rows: int = 1, segments: int = 5, value: float = 1) -> dict[str, Any]:
    return {name: np.full((rows, segments, 12), value, np.float32) for name in ("timbre", "pitches")}


def records(folder: Path) -> list[bytes]:
    files = sorted(map(str, folder.glob(f"*{SUFFIX}")))
    return list(tf.data.TFRecordDataset(files).as_numpy_iterator()) if files else []


def features(record: bytes) -> Mapping[str, Any]:
    return dict(tf.train.Example.FromString(record).features.feature)


def logged(metrics: Metrics, code: str) -> int:
    found = re.search(rf'^{REQUEST_LOG_COUNT}{{model_name="m",status_code="{code}"}} (\d+)$', metrics.page(), re.M)
    return int(found[1]) if found else 0


def opened(folder: Path, **limits: Any) -> tuple[RequestLog, Metrics]:
    metrics = Metrics()
    return RequestLog("m", LogConfig(str(folder / "m"), **limits), metrics), metrics


def test_the_signatures_are_those_of_the_models() -> None:
    assert list(TRACK_INPUTS) == [ARRAYS_SIGNATURE, EXAMPLES_SIGNATURE]


def test_what_was_heard_is_logged_with_its_track(tmp_path: Path) -> None:
    log, _ = opened(tmp_path)
    ear = np.arange(2 * N_EAR, dtype=np.float32).reshape(2, N_EAR)
    inputs = {**ARRAYS.inputs, EAR_FEATURE: TensorSpec("ear:0", tf.float32)}
    log.offer(replace(ARRAYS, inputs=inputs), {**arrays(2), EAR_FEATURE: ear})
    log.close()
    found = [features(record)[EAR_FEATURE].float_list.value for record in records(tmp_path)]
    np.testing.assert_array_equal(found, ear)


def test_served_tracks_are_logged(finished_run: FinishedRun, tmp_path: Path) -> None:
    (example,) = tf.data.TFRecordDataset(
        str(next(finished_run.artifact("TrackExampleGen", "examples").glob("Split-test/*")))
    ).take(1)
    sent = bytes(example.numpy())
    folder = tmp_path / "new" / "logs"
    flags = [f"--model_base_path={finished_run.home / 'pushed'}", "--model_name=m", f"--request_log_folder={folder}"]
    with running(parse_flags(flags)) as server:
        with server.channel() as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = "m", EXAMPLES_SIGNATURE
            request.inputs["examples"].CopyFrom(tf.make_tensor_proto([sent]))
            stub.Predict(request, metadata=[("user", "secret")])
        tracks = arrays(2, 40, 0.5)
        for array in tracks.values():
            array[1, 30:] = 0
        with server.rest as client:
            body = {"inputs": {name: array.tolist() for name, array in tracks.items()}}
            assert client.post("/m:predict", json=body, headers={"user": "secret"}).status_code == 200
            wrong = {"instances": [{"timbre": [[1]], "pitches": [[1]]}]}
            assert client.post("/m:predict", json=wrong).status_code == 400
        assert list(folder.glob(f"*{SUFFIX}")) == []
    as_it_came, first, second = records(folder)
    assert as_it_came == sent
    assert set(features(first)) == set(SEGMENT_FEATURES)
    lengths = [len(features(record)[SEGMENT_FEATURES[0]].float_list.value) for record in (first, second)]
    assert lengths == [40, 30]
    assert set(features(first)["pitch_C"].float_list.value) == {0.5}


def test_nothing_is_logged_unless_asked_for(finished_run: FinishedRun, tmp_path: Path) -> None:
    options = parse_flags([f"--model_base_path={finished_run.home / 'pushed'}", "--model_name=m"])
    with running(options) as server, server.rest as client:
        body = {"inputs": {name: array.tolist() for name, array in arrays(1, 40, 0.5).items()}}
        assert client.post("/m:predict", json=body).status_code == 200
    assert options.log is None


def test_a_coefficient_goes_to_its_feature(tmp_path: Path) -> None:
    log, _ = opened(tmp_path)
    timbre, pitches = np.arange(24, dtype=np.float32).reshape(2, 1, 1, 12)
    log.offer(ARRAYS, {"timbre": timbre, "pitches": pitches})
    log.offer(replace(ARRAYS, name="other"), arrays())
    log.close()
    (record,) = records(tmp_path)
    assert [features(record)[name].float_list.value[0] for name in SEGMENT_FEATURES] == list(range(24))


def test_a_share_is_logged(tmp_path: Path) -> None:
    log, metrics = opened(tmp_path, sampling_rate=0.25)
    for _ in range(2000):
        log.offer(ARRAYS, arrays())
    log.close()
    assert 400 < len(records(tmp_path)) < 600
    assert logged(metrics, "OK") == len(records(tmp_path))


def test_the_disk_is_bounded_and_the_oldest_file_goes_first(tmp_path: Path) -> None:
    max_bytes = 200_000
    (tmp_path / f"m-of-a-killed-server{SUFFIX}.part").write_bytes(bytes(100_000))
    (tmp_path / f"n-of-another-model{SUFFIX}").write_bytes(b"")
    log, metrics = opened(tmp_path, max_bytes=max_bytes)
    sizes = []
    for number in range(1, 1001):
        log.offer(ARRAYS, arrays(value=number))
        if number % 50 == 0:
            wait_for(lambda: logged(metrics, "OK") == number)  # noqa: B023 - called at once
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            assert all(map(features, records(tmp_path)))  # What is there is whole.
    log.close()
    assert max(sizes) <= max_bytes
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / f"n-of-another-model{SUFFIX}").exists()
    kept = sorted(features(record)["timbre_01"].float_list.value[0] for record in records(tmp_path))
    assert kept == list(range(1001 - len(kept), 1001))
    assert 50 < len(kept) < 1000 == logged(metrics, "OK")


def test_the_memory_is_bounded(tmp_path: Path) -> None:
    log, metrics = opened(tmp_path)
    large = arrays(1, MAX_QUEUED_BYTES // 96 + 1)
    log.offer(ARRAYS, large)
    log.offer(ARRAYS, arrays())
    log.close()
    assert (logged(metrics, "RESOURCE_EXHAUSTED"), logged(metrics, "OK")) == (1, 1)


def test_an_example_larger_than_a_file_is_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    log, metrics = opened(tmp_path, max_bytes=80_000)
    for _ in range(3):
        log.offer(ARRAYS, arrays(1, 1000))
    log.offer(ARRAYS, arrays())
    log.close()
    assert (logged(metrics, "INTERNAL"), logged(metrics, "OK")) == (3, 1)
    assert len([one for one in caplog.records if "could not log requests" in one.getMessage()]) == 1
    assert len(records(tmp_path)) == 1


def test_a_folder_that_goes_away_costs_the_log_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "logs"
    folder.mkdir()
    log, metrics = opened(folder)
    shutil.rmtree(folder)
    for _ in range(5):
        log.offer(ARRAYS, arrays())
    wait_for(lambda: logged(metrics, "INTERNAL") == 5)
    assert len(caplog.records) == 1
    folder.mkdir()
    log.offer(ARRAYS, arrays())
    log.close()
    assert len(records(folder)) == 1


def test_a_file_appears_in_time_and_when_the_log_is_closed(tmp_path: Path) -> None:
    log, _ = opened(tmp_path, max_file_s=0.3)
    log.offer(ARRAYS, arrays())
    wait_for(lambda: len(records(tmp_path)) == 1)
    log.offer(ARRAYS, arrays())
    log.close()
    assert len(records(tmp_path)) == 2
