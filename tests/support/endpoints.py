"""Servers that the client's tests ask: the stand-in with good and bad models, and some that answer as they are told."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.flags import ServerOptions
from serving.server.manager import LoadSettings
from tests.conftest import ROOT, free_port
from tests.support.serving import running

BROKEN, EMPTY, OTHER, TEXTS = "broken", "empty", "other", "texts"
"""Models beside ``deepmusic``: one that does not load, one without versions, one without our signature, and one whose
signature of our name answers otherwise."""


AVAILABLE = (200, b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}')
"""What a server says that has version 3 of the model."""


@dataclass(frozen=True)
class Endpoints:
    """The stand-in's URLs, and those of the other models.

    Attributes:
        http, grpc: what serves ``deepmusic``.
        version: its version.
        beside: the URLs of the other models, by name and scheme.
    """

    http: str
    grpc: str
    version: int
    beside: Mapping[str, Mapping[str, str]]


@contextmanager
def stand_in(pushed: Path, folder: Path) -> Iterator[Endpoints]:
    """The stand-in with ``deepmusic`` as it was pushed, and one for each of the other models."""
    (folder / EMPTY).mkdir()
    (folder / BROKEN / "1").mkdir(parents=True)
    (folder / BROKEN / "1" / "saved_model.pb").write_bytes(b"nothing of the kind")
    _save_other(folder / OTHER / "1", "serving_default")
    _save_other(folder / TEXTS / "1", "serving_examples")
    port, rest_port = free_port(), free_port()
    flags = {"model_name": "deepmusic", "model_base_path": pushed, "port": port, "rest_api_port": rest_port}
    command = [sys.executable, "-m", "serving.server", *(f"--{name}={value}" for name, value in flags.items())]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        load = LoadSettings(max_retries=0)
        others = {
            name: stack.enter_context(running(ServerOptions(name, str(folder / name), load)))
            for name in (BROKEN, EMPTY, OTHER, TEXTS)
        }
        yield Endpoints(
            f"http://127.0.0.1:{rest_port}",
            f"grpc://127.0.0.1:{port}",
            max(int(path.name) for path in pushed.iterdir()),
            {
                name: {"http": one.address, "grpc": f"grpc://127.0.0.1:{one.options.port}"}
                for name, one in others.items()
            },
        )
        process.send_signal(signal.SIGTERM)


def _save_other(folder: Path, signature: str) -> None:
    module = tf.Module()
    module.answer = tf.function(
        lambda examples: {"length": tf.strings.length(examples)},
        input_signature=[tf.TensorSpec([None], tf.string, "examples")],
    )
    tf.saved_model.save(module, str(folder), signatures={signature: module.answer})


@contextmanager
def http_server(
    answers: Sequence[tuple[int, bytes]],
    status: tuple[int, bytes] = AVAILABLE,
    bodies: list[bytes] | None = None,
    port: int = 0,
) -> Iterator[str]:
    """A server that gives POST requests one of the answers after the other, and every GET request the same.

    Args:
        answers: statuses and bodies; there is no answer after the last.
        status: for GET.
        bodies: what it was sent is added here.
        port: to listen on; 0 for any.
    """
    left = iter(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if bodies is not None:
                bodies.append(body)
            self._send(*next(left))

        def do_GET(self) -> None:
            self._send(*status)

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


Abort = tuple[grpc.StatusCode, str]


@contextmanager
def grpc_server(
    answers: Sequence[Abort | dict[str, Any]], state: str | None = "AVAILABLE", port: int = 0
) -> Iterator[str]:
    """A server that answers Predict with one status or dictionary of outputs after the other.

    Args:
        answers: what it answers; there is no answer after the last.
        state: of the one version that GetModelStatus knows; None if it does not know the model.
        port: to listen on; 0 for any.
    """
    left = iter(answers)

    def predict(_request: Any, context: grpc.ServicerContext) -> Any:
        answer = next(left)
        response = predict_pb2.PredictResponse()
        if isinstance(answer, tuple):
            context.abort(*answer)
        else:
            for name, values in answer.items():
                proto = values if isinstance(values, tensor_pb2.TensorProto) else tf.make_tensor_proto(values)
                response.outputs[name].CopyFrom(proto)
        return response

    def status(_request: Any, context: grpc.ServicerContext) -> Any:
        if state is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model deepmusic")
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=3, state=get_model_status_pb2.ModelVersionStatus.State.Value(state))
        return response

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_send_message_length", -1)])
    predictions = prediction_service_pb2_grpc.PredictionServiceServicer()
    predictions.Predict = predict
    models = model_service_pb2_grpc.ModelServiceServicer()
    models.GetModelStatus = status
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{bound}"
    finally:
        server.stop(None)


def outputs_json(genre: str, probabilities: dict[str, float]) -> bytes:
    """A model's answer to one track, as TF Serving's REST interface gives it."""
    outputs = {"genre": [genre], "genres": [list(probabilities)], "probabilities": [list(probabilities.values())]}
    return json.dumps({"outputs": outputs}).encode()
