"""The stand-in's versions: loaded, replaced, broken, warmed up; and requests that run together."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.batching import Batcher, BatchSettings
from serving.server.errors import ServingError, invalid
from serving.server.manager import ManagerSettings, ModelConfig, ModelManager, State
from serving.server.metrics import Metrics
from serving.server.servable import WARMUP_FILE
from serving.server.signatures import PREDICT_METHOD, Signature, Tensors, TensorSpec
from serving.server.versions import ALL_VERSIONS

SEGMENT = 12


def save_model(base: Path, version: int, name: str = "") -> Path:
    """Exports a model that sums up its segments; ``version`` is among its answers."""
    folder = base / (name or str(version))
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        arrays = {key: v1.placeholder(tf.float32, [None, None, SEGMENT], key) for key in ("timbre", "pitches")}
        stamp = v1.get_variable("stamp", initializer=tf.constant(version, tf.int64))
        total = tf.reduce_sum(tf.concat(list(arrays.values()), 2), [1, 2])
        answers = {"total": total, "version": tf.fill(tf.shape(total), stamp)}
        examples = v1.placeholder(tf.string, [None], "examples")
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)})["x"]
        scores = tf.stack([parsed, 1 - parsed], 1)
        classes = tf.broadcast_to(tf.constant(["yes", "no"]), tf.shape(scores))
        builder = v1.saved_model.Builder(str(folder))
        signatures = {
            "serving_default": signature(arrays, answers, "predict"),
            "parsed": signature({"examples": examples}, {"x": parsed, "text_bytes": examples}, "predict"),
            "classify": signature({"inputs": examples}, {"classes": classes, "scores": scores}, "classify"),
            "regress": signature({"inputs": examples}, {"outputs": 2 * parsed}, "regress"),
        }
        session.run(v1.global_variables_initializer())
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


def signature(inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor], method: str) -> Any:
    infos = [
        {name: tf.compat.v1.saved_model.build_tensor_info(tensor) for name, tensor in tensors.items()}
        for tensors in (inputs, outputs)
    ]
    return tf.compat.v1.saved_model.build_signature_def(*infos, f"tensorflow/serving/{method}")


def example(x: float) -> bytes:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
    return bytes(tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString())


def warmup(folder: Path, signature_name: str) -> None:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature_name
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example(1)]))
    (folder / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exported")
    for version in (1, 2, 3):
        save_model(base, version)
    return base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@contextmanager
def managed(config: ModelConfig, retry_s: float = 60, retries: int = 5) -> Iterator[ModelManager]:
    settings = ManagerSettings(poll_wait_s=0.05, load_retry_interval_s=retry_s, max_load_retries=retries)
    manager = ModelManager([config], settings, Metrics())
    manager.start()
    manager.wait_until_looked()
    try:
        yield manager
    finally:
        manager.stop()


def states(manager: ModelManager) -> dict[int, State]:
    return {status.version: status.state for status in manager.status("m")}


def is_available(manager: ModelManager, version: int) -> bool:
    return states(manager).get(version) is State.AVAILABLE


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def push(exported: Path, version: int, base: Path) -> None:
    """Copies a version beside and renames it, as a pusher does."""
    shutil.copytree(exported / str(version), base / f"temporary-{version}")
    (base / f"temporary-{version}").rename(base / str(version))


def predicted_version(manager: ModelManager, number: int | None = None) -> int:
    with manager.use("m", number) as handle:
        segments = np.ones((1, 2, SEGMENT), np.float32)
        outputs = handle.submit(handle.signatures["serving_default"], {"timbre": segments, "pitches": segments})
        answer = outputs.result(20)
        assert answer["total"] == 4 * SEGMENT
        return int(answer["version"][0])


def test_a_new_version_replaces_the_old_one_when_its_requests_are_answered(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(ModelConfig("m", str(base))) as manager:
        assert predicted_version(manager) == 1
        with manager.use("m") as old:
            push(exported, 2, base)
            wait_for(lambda: states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE})
            assert predicted_version(manager) == 2
            with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 1\)"):
                predicted_version(manager, 1)
            array = np.ones((1, 1, SEGMENT), np.float32)
            late = old.submit(old.signatures["serving_default"], {"timbre": array, "pitches": array})
            assert late.result(20)["version"] == [1]
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_no_request_is_lost_while_versions_change(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(ModelConfig("m", str(base))) as manager, ThreadPoolExecutor(4) as pool:
        done = threading.Event()

        def ask() -> set[int]:
            found = set()
            while not done.is_set():
                found.add(predicted_version(manager))
            return found

        askers = [pool.submit(ask) for _ in range(4)]
        for version in (2, 3):
            push(exported, version, base)
            wait_for(partial(is_available, manager, version))
        time.sleep(0.1)
        done.set()
        assert set.union(*(asker.result() for asker in askers)) == {1, 2, 3}


def test_a_half_copied_version_does_not_replace_a_good_one(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(ModelConfig("m", str(base)), retry_s=0.3) as manager:
        (base / "2").mkdir()
        shutil.copy(exported / "2" / "saved_model.pb", base / "2")
        wait_for(lambda: any(status.code != "OK" for status in manager.status("m")))
        failed = manager.status("m", 2)[0]
        assert (failed.state, bool(failed.message)) == (State.LOADING, True)
        assert predicted_version(manager) == 1
        shutil.copytree(exported / "2" / "variables", base / "2" / "variables")
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert manager.status("m", 2)[0].code == "OK"


def test_a_broken_version_ends_after_its_retries_and_is_read_anew_when_replaced(exported: Path, base: Path) -> None:
    (base / "2").mkdir()
    (base / "2" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with managed(ModelConfig("m", str(base)), retry_s=0.05, retries=2) as manager:
        wait_for(lambda: states(manager) == {2: State.END})
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"):
            predicted_version(manager)
        shutil.rmtree(base / "2")
        time.sleep(0.3)
        push(exported, 2, base)
        wait_for(lambda: states(manager) == {2: State.AVAILABLE})


def test_all_versions_labels_and_what_is_unknown(exported: Path, base: Path) -> None:
    for version in (1, 2):
        push(exported, version, base)
    with managed(ModelConfig("m", str(base), ALL_VERSIONS, {"stable": 1})) as manager:
        assert [predicted_version(manager, number) for number in (1, 2, None)] == [1, 2, 2]
        assert manager.labelled_version("m", "stable") == 1
        with pytest.raises(ServingError, match="NOT_FOUND: Could not find version 9 of model m"):
            manager.status("m", 9)
        with pytest.raises(ServingError, match="NOT_FOUND: Could not find any versions of model x"):
            manager.status("x")
        with pytest.raises(ServingError, match="INVALID_ARGUMENT: Unrecognized servable version label: l"):
            manager.status("m", label="l")
        shutil.rmtree(base / "1")
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        base.rename(base.with_name("away"))
        time.sleep(0.2)
        assert predicted_version(manager) == 2


def test_warm_up(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    warmup(base / "1", "parsed")
    with managed(ModelConfig("m", str(base)), retries=0) as manager:
        assert predicted_version(manager) == 1
        shutil.copytree(exported / "2", base / "temporary-2")
        warmup(base / "temporary-2", "classify")
        (base / "temporary-2").rename(base / "2")
        wait_for(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})
        assert "input tensor alias not found in signature: examples" in manager.status("m", 2)[0].message


SIGNATURE = Signature(
    "sum",
    PREDICT_METHOD,
    {"x": TensorSpec("x:0", tf.float32, (-1, -1, SEGMENT))},
    {"y": TensorSpec("y:0", tf.float32, (-1,))},
)


MAX_ROWS = 8


class SlowSum:
    """Runs only while the gate is open; refuses negative numbers."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, tensors: Tensors) -> Tensors:
        self.gate.wait(20)
        self.shapes.append(tensors["x"].shape)
        if (tensors["x"] < 0).any():
            raise invalid("negative")
        return {"y": tensors["x"].sum((1, 2))}


def segments(rows: int, length: int, value: float = 1) -> Tensors:
    return {"x": np.full((rows, length, SEGMENT), value, np.float32)}


def test_requests_run_together_while_the_model_is_busy() -> None:
    model = SlowSum()
    with ThreadPoolExecutor(2) as pool:
        batcher = Batcher(SIGNATURE, model, pool, BatchSettings(max_rows=MAX_ROWS))
        first = batcher.submit(segments(1, 1))
        wait_for(lambda: not batcher._queue)
        others = [batcher.submit(segments(rows, length)) for rows, length in ((1, 3), (2, 1), (1, 2))]
        model.gate.set()
        assert first.result(20)["y"].tolist() == [SEGMENT]
        assert [other.result(20)["y"].tolist() for other in others] == [
            [3 * SEGMENT],
            [SEGMENT, SEGMENT],
            [2 * SEGMENT],
        ]
        assert model.shapes == [(1, 1, SEGMENT), (4, 3, SEGMENT)]
        wait_for(lambda: not batcher.busy)


def test_one_bad_request_fails_alone() -> None:
    model = SlowSum()
    with ThreadPoolExecutor(2) as pool:
        batcher = Batcher(SIGNATURE, model, pool, BatchSettings(max_rows=MAX_ROWS, threads=1))
        batcher.submit(segments(1, 1))
        wait_for(lambda: not batcher._queue)
        good, bad, given_up, large = (
            batcher.submit(request)
            for request in (segments(1, 3), segments(1, 2, -1), segments(1, 1), segments(MAX_ROWS, 1))
        )
        assert given_up.cancel()
        model.gate.set()
        assert good.result(20)["y"].tolist() == [3 * SEGMENT]
        with pytest.raises(ServingError, match="negative"):
            bad.result(20)
        assert len(large.result(20)["y"]) == MAX_ROWS
        assert model.shapes[1:] == [(2, 3, SEGMENT), (1, 3, SEGMENT), (1, 2, SEGMENT), (MAX_ROWS, 1, SEGMENT)]


def test_a_batch_runs_beside_another_only_if_it_is_full() -> None:
    model = SlowSum()
    with ThreadPoolExecutor(2) as pool:
        batcher = Batcher(SIGNATURE, model, pool, BatchSettings(max_rows=2))
        futures = [batcher.submit(segments(1, 1))]
        wait_for(lambda: not batcher._queue)
        futures.append(batcher.submit(segments(1, 2)))
        time.sleep(0.05)
        assert len(batcher._queue) == 1
        futures.append(batcher.submit(segments(1, 2)))
        wait_for(lambda: not batcher._queue)
        futures.append(batcher.submit(segments(1, 3)))
        model.gate.set()
        assert [future.result(20)["y"].tolist() for future in futures] == [
            [length * SEGMENT] for length in (1, 2, 2, 3)
        ]
        assert sorted(model.shapes) == [(1, 1, SEGMENT), (1, 3, SEGMENT), (2, 2, SEGMENT)]
        wait_for(lambda: not batcher.busy)


def test_without_batches_every_request_runs_by_itself_as_soon_as_a_thread_is_free() -> None:
    model = SlowSum()
    with ThreadPoolExecutor(2) as pool:
        batcher = Batcher(SIGNATURE, model, pool, BatchSettings(max_rows=1, max_queued=2))
        futures = []
        for waiting in (0, 0, 1, 2):
            futures.append(batcher.submit(segments(1, 1)))
            wait_for(lambda waiting=waiting: len(batcher._queue) == waiting)  # type: ignore[misc] # no type for a default
        with pytest.raises(ServingError, match="UNAVAILABLE: The batch scheduling queue"):
            batcher.submit(segments(1, 1))
        model.gate.set()
        assert all(future.result(20)["y"].tolist() == [SEGMENT] for future in futures)
        assert model.shapes == [(1, 1, SEGMENT)] * 4
