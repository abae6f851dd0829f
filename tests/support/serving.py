"""The development server for tests: in a thread, with small models, and asked over real sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from deepmusic_genre import read_tracks
from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR, Track
from serving.serve import development_command
from serving.server.app import serve
from serving.server.flags import ServerOptions, parse_flags
from serving.server.manager import LoadSettings, ModelManager, State
from serving.server.metrics import Metrics
from serving.server.rest import MakePage
from serving.server.servable import WARMUP_FILE
from tests.conftest import free_port

SEGMENT = 12


@dataclass(frozen=True)
class Running:
    """A server, and ways to connect to it."""

    options: ServerOptions

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.options.rest_port}"

    @property
    def rest(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.address}/v1/models", timeout=30)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.options.port}") as channel:
            yield channel

    @contextmanager
    def stub(self) -> Iterator[Any]:
        with self.channel() as channel:
            yield prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.options.rest_port), timeout=10)


@contextmanager
def running(options: ServerOptions, page: MakePage | None = None) -> Iterator[Running]:
    """The server in a thread, on ports of its own."""
    options = replace(options, port=free_port(), rest_port=free_port())
    ready = threading.Event()
    loops = []
    stop = asyncio.Event()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(options, ready.set, stop, page)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield Running(options)
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


def page_options(pushed: Path) -> ServerOptions:
    """What ``deepmusic serve`` asks of the server."""
    return parse_flags(development_command(pushed, 0, 0).arguments[3:])


def track_of(path: Path) -> Track:
    """The track in a file."""
    ((_, track),) = read_tracks([str(path)])
    assert isinstance(track, Track)
    return track


@contextmanager
def managed(base: Path, retry_s: float = 60, retries: int = 5) -> Iterator[ModelManager]:
    """A model's versions without a server."""
    settings = LoadSettings(poll_wait_s=0.05, retry_interval_s=retry_s, max_retries=retries)
    manager = ModelManager("m", str(base), settings, Metrics())
    manager.start()
    manager.wait_until_looked()
    try:
        yield manager
    finally:
        manager.stop()


def states(manager: ModelManager) -> dict[int, State]:
    """The state of every version."""
    return {status.version: status.state for status in manager.status("m")}


def predicted_version(manager: ModelManager, number: int | None = None) -> int:
    """The version that answers."""
    with manager.use("m", number) as handle:
        array = np.ones((1, 2, SEGMENT), np.float32)
        outputs = handle.submit(handle.signatures["serving_default"], {"timbre": array, "pitches": array})
        answer = outputs.result(20)
        assert answer["total"] == 4 * SEGMENT
        return int(answer["version"][0])


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


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
        builder = v1.saved_model.Builder(str(folder))
        signatures = {
            "serving_default": _signature(arrays, answers),
            "parsed": _signature({"examples": examples}, {"x": parsed, "text_bytes": examples}),
        }
        session.run(v1.global_variables_initializer())
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


def save_genres(base: Path, version: int, genres: Sequence[str]) -> Path:
    """Exports a model that answers every track with the first of its genres."""
    folder = base / str(version)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], "examples")
        rows = tf.shape(examples)
        names = tf.tile(tf.constant([genres]), [rows[0], 1])
        share = tf.fill(tf.shape(names), tf.constant(1 / len(genres), tf.float32))
        answers = {"genre": tf.fill(rows, genres[0]), "genres": names, "probabilities": share}
        builder = v1.saved_model.Builder(str(folder))
        signature = _signature({"examples": examples}, answers)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_examples": signature})
        builder.save()
    return folder


def save_listening(base: Path, version: int, analyser: str) -> Path:
    """Exports a model with the signatures of one that listens: Jazz for a track with an ear, and no answer without."""
    folder = base / str(version)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        arrays = {key: v1.placeholder(tf.float32, [None, None, SEGMENT], key) for key in ("timbre", "pitches")}
        ear = v1.placeholder(tf.float32, [None, N_EAR], EAR_FEATURE)
        examples = v1.placeholder(tf.string, [None], "examples")
        spec = {EAR_FEATURE: tf.io.FixedLenFeature([N_EAR], tf.float32, [0.0] * N_EAR)}
        parsed = tf.io.parse_example(examples, spec)[EAR_FEATURE]
        builder = v1.saved_model.Builder(str(folder))
        signatures = {
            "serving_default": _signature({**arrays, EAR_FEATURE: ear}, _of_heard(ear, analyser)),
            "serving_examples": _signature({"examples": examples}, _of_heard(parsed, analyser)),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


def _of_heard(ear: tf.Tensor, analyser: str) -> dict[str, tf.Tensor]:
    heard = tf.reduce_any(tf.not_equal(ear, 0), axis=1)
    rows = tf.shape(heard)
    return {
        "genre": tf.where(heard, "Jazz", ""),
        "genres": tf.tile([["Jazz", "Rock"]], [rows[0], 1]),
        "probabilities": tf.where(heard[:, tf.newaxis], [[0.75, 0.25]], float("nan")),
        "analyser": tf.fill(rows, analyser),
    }


def _signature(inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> Any:
    infos = [
        {name: tf.compat.v1.saved_model.build_tensor_info(tensor) for name, tensor in tensors.items()}
        for tensors in (inputs, outputs)
    ]
    return tf.compat.v1.saved_model.build_signature_def(*infos, "tensorflow/serving/predict")


def push(exported: Path, version: int, base: Path) -> None:
    """Copies a version beside and renames it, as a pusher does."""
    shutil.copytree(exported / str(version), base / f"temporary-{version}")
    (base / f"temporary-{version}").rename(base / str(version))


def warmup(folder: Path, signature_name: str) -> None:
    """Lets a version bring a request along that is right for the signature ``parsed`` alone."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature_name
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1]))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example.SerializeToString()]))
    (folder / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())


def segments(rows: int = 1, length: int = 2, value: float = 1) -> list[Any]:
    """Equal segments, as JSON has them."""
    return np.full((rows, length, SEGMENT), value).tolist()


def instance(value: float = 1, length: int = 2) -> dict[str, Any]:
    """A track of equal segments."""
    return {name: segments(1, length, value)[0] for name in ("timbre", "pitches")}


def predict_request(model: str = "m", **arguments: Any) -> Any:
    """The same over gRPC."""
    request = predict_pb2.PredictRequest(**arguments)
    request.model_spec.name = model
    for name in ("timbre", "pitches"):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(segments(), tf.float32))
    return request


def received(connection: socket.socket) -> bytes:
    """All until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
