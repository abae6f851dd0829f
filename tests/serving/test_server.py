"""The stand-in for TF Serving on real sockets: REST, gRPC, hostile clients, the command line."""

import asyncio
import base64
import gzip
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server.app import serve
from serving.server.asgi import MAX_BODY, Message, Receive, Scope, Send
from serving.server.flags import ServerOptions
from serving.server.manager import ManagerSettings, ModelConfig
from serving.server.metrics import DEFAULT_PATH
from serving.server.rest import RestSettings
from serving.server.versions import ALL_VERSIONS
from tests.conftest import FinishedRun
from tests.serving.test_manager import SEGMENT, example, save_model

TIMEOUT_S = 4


@dataclass(frozen=True)
class Running:
    options: ServerOptions

    @property
    def rest(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.options.rest_port}/v1/models", timeout=30)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.options.port}") as channel:
            yield channel

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.options.rest_port), timeout=10)


@contextmanager
def running(options: ServerOptions) -> Iterator[Running]:
    """The server in a thread."""
    options = replace(options, port=free_port(), rest_port=free_port())
    ready = threading.Event()
    loops = []
    stop = asyncio.Event()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(options, ready.set, stop)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield Running(options)
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
    message: Message = {"type": "http.response.start", "status": 200, "headers": []}
    await send(message)
    await send({"type": "http.response.body", "body": b"a page"})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served")
    for version in (1, 2):
        save_model(base, version)
    return base


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Running]:
    config = ModelConfig("m", str(models), ALL_VERSIONS, {"stable": 1})
    rest = RestSettings(timeout_s=TIMEOUT_S, cors=True, metrics_path=DEFAULT_PATH, page=lambda _: page)
    with running(ServerOptions([config], ManagerSettings(), rest)) as found:
        yield found


def segments(rows: int = 1, length: int = 2, value: float = 1) -> list[Any]:
    return np.full((rows, length, SEGMENT), value).tolist()


def instance(value: float = 1, length: int = 2) -> dict[str, Any]:
    return {name: segments(1, length, value)[0] for name in ("timbre", "pitches")}


def test_predict(server: Running) -> None:
    with server.rest as client:
        row = client.post("/m:predict", json={"instances": [instance(), instance(2)]})
        assert row.headers["content-type"] == "application/json"
        assert row.json() == {"predictions": [{"total": 48, "version": 2}, {"total": 96, "version": 2}]}
        column = client.post("/m:predict", json={"inputs": {"timbre": segments(), "pitches": segments()}})
        assert column.json() == {"outputs": {"total": [48], "version": [2]}}
        for path in ("/m/versions/1:predict", "/m/labels/stable:predict", "/%6d/labels/st%61ble:predict?x=1"):
            assert client.post(path, json={"instances": [instance()]}).json()["predictions"][0]["version"] == 1
        not_finite = json.dumps({"instances": [instance(float("nan"))]})
        assert '"total": NaN' in client.post("/m:predict", content=not_finite).text
        packed = gzip.compress(json.dumps({"instances": [instance()]}).encode())
        answer = client.post("/m:predict", content=packed, headers={"content-encoding": "gzip"})
        assert answer.json()["predictions"][0]["total"] == 48


def test_classify_and_regress(server: Running) -> None:
    with server.rest as client:
        request = {"signature_name": "classify", "examples": [{"x": 0.25}, {}], "context": {"other": "text"}}
        answer = client.post("/m:classify", json=request)
        assert answer.json() == {"results": [[["yes", 0.25], ["no", 0.75]], [["yes", 0], ["no", 1]]]}
        request = {"signature_name": "regress", "examples": [{"x": 0.25}, {}]}
        assert client.post("/m:regress", json=request).json() == {"results": [0.5, 0.0]}
        request = {"signature_name": "parsed", "instances": [{"b64": "CgA="}, ""]}
        answer = client.post("/m:predict", json=request)
        assert answer.json() == {
            "predictions": [{"text_bytes": {"b64": "CgA="}, "x": 0}, {"text_bytes": {"b64": ""}, "x": 0}]
        }


def test_status_and_metadata(server: Running) -> None:
    with server.rest as client:
        available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        both = [{"version": "2", **available}, {"version": "1", **available}]
        assert client.get("/m").json() == {"model_version_status": both}
        assert client.get("/m/versions/1").json() == {"model_version_status": both[1:]}
        assert client.get("/m/labels/stable").json() == {"model_version_status": both[1:]}
        metadata = client.get("/m/metadata").json()
        assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": "2"}
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
        assert signatures["serving_default"]["inputs"]["timbre"]["dtype"] == "DT_FLOAT"
        sizes = [dim["size"] for dim in signatures["serving_default"]["inputs"]["timbre"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", "-1", "12"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/x:predict", "{}", 404, "Servable not found for request: Latest(x)"),
        ("POST", "/m/versions/9:predict", "{}", 404, "Servable not found for request: Specific(m, 9)"),
        ("POST", "/m/labels/l:predict", "{}", 400, "Unrecognized servable version label: l"),
        ("GET", "/x", "", 404, "Could not find any versions of model x"),
        ("GET", "/m/versions/9", "", 404, "Could not find version 9 of model m"),
        ("GET", "/x/metadata", "", 404, "Servable not found for request: Latest(x)"),
        ("GET", "/versions/1", "", 400, "Missing model name in request."),
        ("GET", "/m:predict", "", 400, "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/m:PREDICT", "{}", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        ("DELETE", "/m", "", 400, "Malformed request: DELETE /v1/models/m"),
        ("OPTIONS", "/m", "", 400, "Malformed request: OPTIONS /v1/models/m"),
        ("POST", "/..%2f..%2fetc:predict", "{}", 404, "Servable not found for request: Latest(../../etc)"),
        ("GET", "/m/versions/99999999999999999999", "", 400, "Failed to convert version: 99999999999999999999 to"),
        ("POST", "/m:predict", '{"signature_name": "s"}', 400, 'Serving signature name: "s" not found in signature'),
        ("POST", "/m:predict", "", 400, "JSON Parse error: The document is empty"),
        ("POST", "/m:predict", '{"inputs": {"timbre": 1, "pitches": [1]}}', 400, "have shape [-1,-1,12] but [1]"),
        ("POST", "/m:predict", '{"inputs": {"timbre": [[[1]]]}}', 400, "Missing named input: pitches in 'inputs'"),
        ("POST", "/m:classify", '{"examples": [{}]}', 400, "Was: tensorflow/serving/predict"),
        (
            "POST",
            "/m:regress",
            '{"signature_name": "s", "examples": [{}]}',
            400,
            "No signature was found with the name",
        ),
        (
            *("POST", "/m:predict", '{"signature_name": "parsed", "instances": ["no example"]}', 400),
            "Could not parse example input",
        ),
    ],
)
def test_errors(server: Running, method: str, path: str, body: str, status: int, words: str) -> None:
    with server.rest as client:
        answer = client.request(method, path, content=body)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert words in answer.json()["error"]


def test_outside_of_the_interface(server: Running, models: Path) -> None:
    with server.rest as client:
        address = f"http://127.0.0.1:{server.options.rest_port}"
        assert client.get(f"{address}/").text == "a page"
        asked = client.options("/m", headers={"origin": "http://elsewhere"})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "*")
    with running(ServerOptions([ModelConfig("m", str(models))])) as plain, plain.rest as client:
        for path in ("/", DEFAULT_PATH, "/v2/models/m"):
            answer = client.get(f"http://127.0.0.1:{plain.options.rest_port}{path}")
            assert (answer.status_code, "<H1>Not Found</H1>" in answer.text) == (404, True)


def test_metrics(server: Running) -> None:
    with server.rest as client:
        client.post("/m:predict", json={"instances": [instance()]})
        client.post("/unknown:predict", json={})
        text = client.get(f"http://127.0.0.1:{server.options.rest_port}{DEFAULT_PATH}").text
    assert re.search(r'^:tensorflow:serving:request_count\{model_name="m",status="OK"\} \d+$', text, re.MULTILINE)
    latency = ':tensorflow:serving:request_latency_bucket{model_name="m",API="predict",entrypoint="REST",le='
    bounds = re.findall(re.escape(latency) + r'"([^"]+)"\} \d+', text)
    assert bounds[:3] == ["10", "18", "32.4"]
    assert (len(bounds), bounds[-1]) == (34, "+Inf")
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}' in text
    assert "unknown" not in text


def received(connection: socket.socket) -> bytes:
    """All until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def test_large_requests(server: Running) -> None:
    with server.rest as client:
        many = '{"inputs": {"pitches": 1, "timbre": [' + "1," * 10_000_000 + "1]}}"
        assert client.post("/m:predict", content=many).status_code in (400, 504)
        values = '{"inputs": [' + "1," * 20_000_000 + "1]}"
        assert client.post("/m:predict", content=values).status_code in (429, 504)
        bomb = gzip.compress(b" " * (MAX_BODY + 1))
        answer = client.post("/m:predict", content=bomb, headers={"content-encoding": "gzip"})
        assert "The document is empty" in answer.json()["error"]
        broken = client.post("/m:predict", content=b"{}", headers={"content-encoding": "gzip"})
        assert "The document is empty" in broken.json()["error"]
        deep = '{"instances": ' + "[" * 300_000
        assert client.post("/m:predict", content=deep).status_code == 400
        assert client.post("/m:predict", json={"instances": [instance()]}).status_code == 200
    with server.connect() as connection:
        connection.sendall(f"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        assert received(connection).startswith(b"HTTP/1.1 413 ")


def test_slow_and_broken_senders_are_cut_off(server: Running) -> None:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n"
    connections = [server.connect() for _ in range(6)]
    idle, half_head, half_body, noise, flood, deaf = connections
    padding = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(12_000_000)]))
    padded = tf.train.Example(features=tf.train.Features(feature={"padding": padding})).SerializeToString()
    instances = [{"b64": base64.b64encode(padded).decode()}]
    large = json.dumps({"signature_name": "parsed", "instances": instances})
    deaf.sendall(head + f"Content-Length: {len(large)}\r\n\r\n{large}".encode())
    half_head.sendall(head)
    half_body.sendall(head + b"Content-Length: 100\r\n\r\n{")
    noise.sendall(b"\x00\xff garbage\r\n\r\n")
    with pytest.raises(ConnectionError):
        flood.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000_000)
    start = time.monotonic()
    assert b"HTTP/1.1 504 " in received(half_body)
    assert received(noise).startswith(b"HTTP/1.1 400 ")
    assert received(idle) == received(half_head) == b""
    assert time.monotonic() - start < TIMEOUT_S + 5
    time.sleep(max(0, start + TIMEOUT_S + 5 - time.monotonic()))
    assert len(received(deaf)) < len(large)
    for connection in connections:
        connection.close()


@contextmanager
def prediction_stub(server: Running) -> Iterator[Any]:
    with server.channel() as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(model: str = "m", **arguments: Any) -> Any:
    request = predict_pb2.PredictRequest(**arguments)
    request.model_spec.name = model
    for name in ("timbre", "pitches"):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(segments(), tf.float32))
    return request


def test_grpc_predict(server: Running) -> None:
    with prediction_stub(server) as stub:
        response = stub.Predict(predict_request())
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("m", 2, "serving_default")
        assert list(response.outputs["total"].float_val) == [48]
        assert not response.outputs["total"].tensor_content
        assert [dim.size for dim in response.outputs["version"].tensor_shape.dim] == [1]
        assert list(stub.Predict(predict_request(output_filter=["version"])).outputs) == ["version"]
        request = predict_request()
        request.model_spec.version_label = "stable"
        assert list(stub.Predict(request).outputs["version"].int64_val) == [1]
        request.inputs["timbre"].ClearField("tensor_content")  # TensorFlow takes none for zeros.
        assert list(stub.Predict(request).outputs["total"].float_val) == [24]


def test_grpc_classify_regress_metadata_status(server: Running) -> None:
    with prediction_stub(server) as stub, server.channel() as channel:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = "m", "classify"
        request.input.example_list.examples.append(tf.train.Example.FromString(example(0.25)))
        found = stub.Classify(request).result.classifications[0].classes
        assert [(one.label, one.score) for one in found] == [("yes", 0.25), ("no", 0.75)]
        regress = regression_pb2.RegressionRequest(input=request.input)
        regress.model_spec.name, regress.model_spec.signature_name = "m", "regress"
        assert stub.Regress(regress).result.regressions[0].value == 0.5
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = "m"
        described = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(asked).metadata["signature_def"].Unpack(described)
        assert "serving_default" in described.signature_def
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "m"
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status)
        assert [(one.version, one.state, one.status.error_code) for one in response.model_version_status] == [
            (2, 30, 0),
            (1, 30, 0),
        ]


def test_grpc_errors(server: Running) -> None:
    def changed(**fields: Any) -> Any:
        request = predict_request()
        for name, value in fields.items():
            setattr(request.model_spec, name, value)
        return request

    large = predict_request()
    large.inputs["timbre"].Clear()
    large.inputs["timbre"].dtype = tf.float32.as_datatype_enum
    for size in (1 << 40, 0, SEGMENT):
        large.inputs["timbre"].tensor_shape.dim.add().size = size
    integer = predict_request()
    integer.inputs["timbre"].CopyFrom(tf.make_tensor_proto(segments(), tf.int32))
    missing = predict_request()
    del missing.inputs["timbre"]
    garbage = predict_request()
    garbage.inputs["timbre"].tensor_content = b"x"
    cases = [
        (changed(name="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
        (changed(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (changed(signature_name="s"), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request(output_filter=["z"]), "INVALID_ARGUMENT", "output tensor alias not found in signature: z"),
        (large, "INVALID_ARGUMENT", "tensor timbre has more than"),
        (integer, "INVALID_ARGUMENT", "Expects input timbre to be float but int32 is provided"),
        (missing, "INVALID_ARGUMENT", "Sent extra: {}. Missing but required: {timbre}."),
        (garbage, "INVALID_ARGUMENT", "tensor parsing error: timbre"),
    ]
    with prediction_stub(server) as stub:
        for request, code, words in cases:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request)
            assert (caught.value.code().name, words in caught.value.details()) == (code, True), caught.value
        with pytest.raises(grpc.RpcError) as caught:
            stub.MultiInference(inference_pb2.MultiInferenceRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


ANSWERS = (
    *(grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND),
    *(grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN),  # Unknown: what is no message at all.
)


def test_grpc_garbage(server: Running) -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    with server.channel() as channel, prediction_stub(server) as stub:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        valid = predict_request().SerializeToString()
        for _ in range(200):
            broken = bytearray(valid)
            for _ in range(chance.randrange(1, 9)):
                broken[chance.randrange(min(len(broken), 80))] = chance.randrange(256)
            future = call.future(bytes(broken[: chance.randrange(len(broken) + 1)]), timeout=20)
            assert future.code() in ANSWERS, future.details()
        assert stub.Predict(predict_request()).outputs["total"].float_val == [48]


NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text(max_size=3))
VALUES = st.recursive(
    st.one_of(NUMBERS, st.builds(lambda text: {"b64": text}, st.text(max_size=5))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=13), st.dictionaries(st.sampled_from(["timbre", "pitches", "b64", "x"]), inner)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "examples", "context", "x"]),
    st.one_of(VALUES, st.sampled_from(["classify", "regress", "parsed", "serving_default", [instance()]])),
    max_size=3,
)
BODIES = st.one_of(
    DOCUMENTS.map(lambda document: json.dumps(document).encode("utf-8", "surrogatepass")),
    st.tuples(DOCUMENTS, st.integers(0, 60)).map(lambda pair: json.dumps(pair[0]).encode()[: pair[1]]),
    st.binary(max_size=40),
)
PATHS = st.one_of(
    st.sampled_from(["/v1/models/m:predict", "/v1/models/m:classify", "/v1/models/m:regress", "/v1/models/m/metadata"]),
    st.tuples(
        st.sampled_from(["/v1", "/V1/models", "/v1/models/m", "/v1/models/m/versions", "/v1/models/m/labels"]),
        st.lists(
            st.one_of(
                st.sampled_from([":predict", "/..", "%2e%2e", "/metadata", "/1", "%00", "%ff", "//", ":", "?a=b"]),
                st.text("abc019:/.%?-_~é", max_size=8),
            ),
            max_size=4,
        ),
    ).map(lambda parts: parts[0] + "/" + "".join(parts[1])),
)
FUZZ_S = 12


def test_nothing_a_client_sends_is_answered_with_a_fault(server: Running) -> None:
    end = time.monotonic() + FUZZ_S
    count = 0
    with closing(server.connect()) as connection:
        streams = [connection.makefile("rb")]
        connections = [connection]

        @settings(max_examples=2500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"]),
            path=PATHS,
            body=BODIES,
            packed=st.booleans(),
        )
        def ask(method: str, path: str, body: bytes, packed: bool) -> None:
            nonlocal count
            if time.monotonic() > end:
                return
            count += 1
            content = gzip.compress(body) if packed else body
            head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n".encode()
            encoding = b"Content-Encoding: gzip\r\n" if packed else b""
            connections[-1].sendall(head + encoding + b"\r\n" + content)
            status, headers, answer = read_answer(streams[-1], method)
            assert 200 <= status < 500 or status in (501, 504), (status, answer)
            if headers.get("connection") == "close":
                connections.append(server.connect())
                streams.append(connections[-1].makefile("rb"))
                connections[-2].close()
            if status >= 400:
                assert headers["content-type"] == "application/json"
                assert method == "HEAD" or list(json.loads(answer)) == ["error"]

        ask()
        connections[-1].close()
    assert count > 100
    with server.rest as client:
        assert client.post("/m:predict", json={"instances": [instance()]}).status_code == 200


def read_answer(stream: Any, method: str) -> tuple[int, dict[str, str], bytes]:
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = b"" if method == "HEAD" else stream.read(int(headers.get("content-length", 0)))
    return status, headers, body


def test_the_pushed_model(finished_run: FinishedRun) -> None:
    config = ModelConfig("deepmusic", str(finished_run.home / "pushed"))
    with running(ServerOptions([config])) as server, server.rest as client:
        answer = client.post("/deepmusic:predict", json={"instances": [instance(0.5, 30)]}).json()
        assert set(answer["predictions"][0]) == {"genre", "probability", "genres", "probabilities", "analyser"}
        assert sum(answer["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-5)
