"""The stand-in for TF Serving on real sockets: REST, gRPC, hostile clients, the command line."""

import base64
import gzip
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp
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

from deepmusic_genre.tracks.track import SEGMENT_FEATURES
from serving.server.app import MAX_HEADER
from serving.server.bodies import MAX_BODY, Budget
from serving.server.errors import ServingError
from serving.server.flags import ServerOptions
from serving.server.grpc_services import READ_TOGETHER
from serving.server.metrics import METRICS_PATH
from serving.server.rest import RestSettings
from tests.conftest import ROOT, FinishedRun, free_port
from tests.support.serving import (
    SEGMENT,
    Running,
    instance,
    predict_request,
    received,
    running,
    save_model,
    segments,
)

TIMEOUT_S = 2
PREDICT = "/v1/models/m:predict"


def page(_service: Any, _timeout_s: float) -> ASGIApp:
    return PlainTextResponse("a page")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served")
    for version in (1, 2):
        save_model(base, version)
    return base


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Running]:
    options = ServerOptions("m", str(models), rest=RestSettings(timeout_s=TIMEOUT_S, cors=True))
    with running(options, page) as found:
        yield found


def test_predict(server: Running) -> None:
    with server.rest as client:
        row = client.post("/m:predict", json={"instances": [instance(), instance(2)]})
        assert row.headers["content-type"] == "application/json"
        assert row.json() == {"predictions": [{"total": 48, "version": 2}, {"total": 96, "version": 2}]}
        column = client.post("/m:predict", json={"inputs": {"timbre": segments(), "pitches": segments()}})
        assert column.json() == {"outputs": {"total": [48], "version": [2]}}
        for path in ("/m/versions/2:predict", "/%6d/versions/002:predict?x=1"):
            assert client.post(path, json={"instances": [instance()]}).json()["predictions"][0]["version"] == 2
        not_finite = json.dumps({"instances": [instance(float("nan"))]})
        assert '"total": NaN' in client.post("/m:predict", content=not_finite).text
        request = {"signature_name": "parsed", "instances": [{"b64": "CgA="}, ""]}
        answer = client.post("/m:predict", json=request)
        assert answer.json() == {
            "predictions": [{"text_bytes": {"b64": "CgA="}, "x": 0}, {"text_bytes": {"b64": ""}, "x": 0}]
        }
        packed = gzip.compress(json.dumps({"instances": [instance()]}).encode())
        answer = client.post("/m:predict", content=packed, headers={"content-encoding": "gzip"})
        assert answer.json()["predictions"][0]["total"] == 48


def test_status_and_metadata(server: Running) -> None:
    with server.rest as client:
        available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        status = {"model_version_status": [{"version": "2", **available}]}
        assert client.get("/m").json() == client.get("/m/versions/2").json() == status
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
        ("POST", "/m/versions/1:predict", "{}", 404, "Servable not found for request: Specific(m, 1)"),
        ("POST", "/m/labels/l:predict", "{}", 400, "Malformed request: POST /v1/models/m/labels/l:predict"),
        ("GET", "/x", "", 404, "Could not find any versions of model x"),
        ("GET", "/m/versions/9", "", 404, "Could not find version 9 of model m"),
        ("GET", "/x/metadata", "", 404, "Servable not found for request: Latest(x)"),
        ("GET", "/versions/1", "", 400, "Malformed request: GET /v1/models/versions/1"),
        ("GET", "/m/", "", 400, "Malformed request: GET /v1/models/m/"),
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
        ("POST", "/m/versions/2:regress", "", 400, "to be tensorflow/serving/regress. Was: tensorflow/serving/predict"),
        ("POST", "/x:classify", "{}", 404, "Servable not found for request: Latest(x)"),
        ("POST", "/m:predict", '{"inputs": {"timbre": [[]], "pitches": [[]]}}', 400, "but [1,0] is provided"),
        (
            *("POST", "/m:predict", '{"signature_name": "parsed", "instances": ["no example"]}', 400),
            "Could not parse example input",
        ),
        (
            *("POST", "/m:predict", '{"signature_name": "parsed", "instances": [{"b64": "/6E="}]}', 400),
            r"Could not parse example input, value: '\xff\xa1'",
        ),
    ],
)
def test_errors(server: Running, method: str, path: str, body: str, status: int, words: str) -> None:
    with server.rest as client:
        answer = client.request(method, path, content=body)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert words in answer.json()["error"]


def test_outside_of_the_interface(server: Running, models: Path) -> None:
    asked = {"origin": "http://elsewhere", "access-control-request-method": "POST"}
    with server.rest as client:
        assert client.get(server.address).text == "a page"
        answer = client.options("/m", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    with running(ServerOptions("m", str(models))) as plain, plain.rest as client:
        assert [client.get(plain.address + path).status_code for path in ("/", "/v2/models/m")] == [404, 404]
        answer = client.options("/m", headers=asked)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (400, False)


def test_metrics(server: Running) -> None:
    with server.rest as client:
        client.post("/m:predict", json={"instances": [instance()]})
        client.post("/unknown:predict", json={})
        text = client.get(server.address + METRICS_PATH).text
    assert re.search(r'^:tensorflow:serving:request_count\{model_name="m",status="OK"\} \d+$', text, re.MULTILINE)
    latency = ':tensorflow:serving:request_latency_bucket{model_name="m",API="predict",entrypoint="REST",le='
    bounds = re.findall(re.escape(latency) + r'"([^"]+)"\} \d+', text)
    assert bounds[:3] == ["10", "18", "32.4"]
    assert (len(bounds), bounds[-1]) == (34, "+Inf")
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}' in text
    assert "unknown" not in text


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
        packed = gzip.compress(json.dumps({"instances": [instance()]}).encode())
        assert client.post("/m:predict", content=packed, headers={"content-encoding": "GZIP"}).status_code == 200
        deep = '{"instances": ' + "[" * 300_000
        assert client.post("/m:predict", content=deep).status_code == 400
        assert client.post("/m:predict", json={"instances": [instance()]}).status_code == 200
    with server.connect() as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        assert received(connection).startswith(b"HTTP/1.1 413 ")
    with server.connect() as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            connection.sendall((b"f4240\r\n" + bytes(1_000_000) + b"\r\n") * (MAX_BODY // 1_000_000 + 50))


def test_what_all_requests_hold_is_bounded() -> None:
    budget = Budget(100)
    with budget.share() as first, budget.share() as second:
        first(60)
        second(40)
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            second(1)
    with budget.share() as third:
        third(100)
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            first(0)


def test_a_client_that_offers_http_2_is_answered(server: Running) -> None:
    body = json.dumps({"instances": [instance()]}).encode()
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    for sent in ([body], [body[:9], body[9:]]):
        with server.connect() as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\n{offer}".encode())
            connection.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode())
            for part in sent:
                time.sleep(0.05)
                connection.sendall(part)
            status, _, answer = read_answer(connection.makefile("rb"), "POST")
            assert (status, json.loads(answer)["predictions"][0]["total"]) == (200, 48)


def test_slow_and_broken_senders_are_cut_off(server: Running) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\n".encode()
    connections = [server.connect() for _ in range(7)]
    idle, half_head, half_body, later, noise, flood, deaf = connections
    padding = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(12_000_000)]))
    padded = tf.train.Example(features=tf.train.Features(feature={"padding": padding})).SerializeToString()
    instances = [{"b64": base64.b64encode(padded).decode()}]
    large = json.dumps({"signature_name": "parsed", "instances": instances})
    deaf.sendall(head + f"Content-Length: {len(large)}\r\n\r\n{large}".encode())
    half_head.sendall(head)
    half_body.sendall(head + b"Content-Length: 100\r\n\r\n{")
    later.sendall(b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n")
    assert read_answer(later.makefile("rb"), "GET")[0] == 200
    later.sendall(head)
    noise.sendall(b"\x00\xff garbage\r\n\r\n")
    with pytest.raises(ConnectionError):
        flood.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000_000)
    start = time.monotonic()
    assert b"HTTP/1.1 504 " in received(half_body)
    assert received(noise).startswith(b"HTTP/1.1 400 ")
    assert received(idle) == received(half_head) == received(later) == b""
    assert time.monotonic() - start < TIMEOUT_S + 5
    time.sleep(max(0, start + TIMEOUT_S + 5 - time.monotonic()))
    assert len(received(deaf)) < len(large)
    for connection in connections:
        connection.close()
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (MAX_HEADER - 1000) + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


REFUSED = 15
HEAVY = 95_000_000
SPARED = 60_000_000


@pytest.mark.slow
def test_a_refused_request_does_not_stay_in_memory(models: Path) -> None:
    packed = gzip.compress(b'{"nothing": "' + b"x" * HEAVY + b'"}')
    assert len(packed) < 95_000
    port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "serving.server", "--model_name=m", f"--model_base_path={models}"]
    command += [f"--port={grpc_port}", f"--rest_api_port={port}", "--rest_api_timeout_in_ms=300000"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(REFUSED) as pool,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client,
    ):
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            client.post(PREDICT, json={"instances": [instance()]})
            before = resident(process.pid)
            sent = [
                pool.submit(client.post, PREDICT, content=packed, headers={"content-encoding": "gzip"})
                for _ in range(REFUSED)
            ]
            answers = [one.result() for one in sent]
            assert {(one.status_code, one.json()["error"]) for one in answers} == {
                (400, "Missing 'inputs' or 'instances' key")
            }
            assert resident_soon(process.pid, before + SPARED) - before < SPARED
            request = predict_request()
            request.inputs["timbre"].tensor_content = bytes(HEAVY // 5)
            target = f"127.0.0.1:{grpc_port}"
            with grpc.insecure_channel(target, None, grpc.Compression.Gzip) as channel:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                calls = [stub.Predict.future(request) for _ in range(REFUSED)]
                assert {call.details() for call in calls} == {"tensor parsing error: timbre"}
            assert resident_soon(process.pid, before + SPARED) - before < SPARED
        finally:
            process.kill()


def resident_soon(process: int, wanted: int) -> int:
    """What a process has in memory when it has fallen to what is wanted, or after a while."""
    end = time.monotonic() + 15
    while resident(process) > wanted and time.monotonic() < end:
        time.sleep(0.2)
    return resident(process)


def resident(process: int) -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)  # noqa: S607 - on the PATH of every Unix
    return int(shown.stdout) << 10


def test_grpc_predict(server: Running) -> None:
    with server.stub() as stub:
        response = stub.Predict(predict_request())
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("m", 2, "serving_default")
        assert list(response.outputs["total"].float_val) == [48]
        assert not response.outputs["total"].tensor_content
        assert [dim.size for dim in response.outputs["version"].tensor_shape.dim] == [1]
        assert list(stub.Predict(predict_request(output_filter=["version"])).outputs) == ["version"]
        request = predict_request()
        request.model_spec.version.value = 2
        request.inputs["timbre"].ClearField("tensor_content")  # TensorFlow takes none for zeros.
        assert list(stub.Predict(request).outputs["total"].float_val) == [24]


def test_no_grpc_call_is_refused_because_of_the_others(server: Running) -> None:
    with server.stub() as stub:
        calls = [stub.Predict.future(predict_request()) for _ in range(400)]
        assert {call.code() for call in calls} == {grpc.StatusCode.OK}


def test_grpc_calls_that_do_not_come_to_their_end_are_cut_off(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.server.grpc_services._READ_S", 0.2)
    with server.channel() as channel, server.stub() as stub:
        silent = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        over = threading.Event()
        calls = [silent.future(iter(over.wait, True)) for _ in range(2 * READ_TOGETHER)]
        assert stub.Predict(predict_request(), timeout=20).outputs["total"].float_val == [48]
        assert {call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        over.set()


def test_grpc_metadata_and_status(server: Running) -> None:
    with server.stub() as stub, server.channel() as channel:
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = "m"
        described = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(asked).metadata["signature_def"].Unpack(described)
        assert "serving_default" in described.signature_def
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "m"
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status)
        (one,) = response.model_version_status
        assert (one.version, one.state, one.status.error_code) == (2, 30, 0)


def test_grpc_errors(server: Running) -> None:
    def changed(**fields: Any) -> Any:
        request = predict_request()
        for name, value in fields.items():
            setattr(request.model_spec, name, value)
        return request

    labelled = predict_request()
    labelled.model_spec.version_label = "stable"
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
        (labelled, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request(output_filter=["z"]), "INVALID_ARGUMENT", "output tensor alias not found in signature: z"),
        (large, "INVALID_ARGUMENT", "tensor timbre has more than"),
        (integer, "INVALID_ARGUMENT", "Expects input timbre to be float but int32 is provided"),
        (missing, "INVALID_ARGUMENT", "Sent extra: {}. Missing but required: {timbre}."),
        (garbage, "INVALID_ARGUMENT", "tensor parsing error: timbre"),
    ]
    with server.stub() as stub:
        for request, code, words in cases:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request)
            assert (caught.value.code().name, words in caught.value.details()) == (code, True), caught.value
        for method, request in (
            (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
            (stub.Classify, classification_pb2.ClassificationRequest()),
            (stub.Regress, regression_pb2.RegressionRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_small_message_that_inflates_to_a_large_one_is_not_read(server: Running) -> None:
    with grpc.insecure_channel(
        f"127.0.0.1:{server.options.port}", [("grpc.max_send_message_length", -1)], grpc.Compression.Gzip
    ) as channel:
        request = predict_request()
        request.inputs["timbre"].tensor_content = bytes(2 * MAX_BODY)
        with pytest.raises(grpc.RpcError) as caught:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED)


ANSWERS = (
    *(grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND),
    grpc.StatusCode.FAILED_PRECONDITION,
)


def test_grpc_garbage(server: Running) -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    with server.channel() as channel, server.stub() as stub:
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
    st.sampled_from(["instances", "inputs", "signature_name", "x"]),
    st.one_of(VALUES, st.sampled_from(["parsed", "serving_default", [instance()]])),
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
        st.sampled_from(["/v1", "/V1/models", "/v1/models/m", "/v1/models/m/versions"]),
        st.lists(
            st.one_of(
                st.sampled_from([":predict", "/..", "%2e%2e", "/metadata", "/1", "%00", "%ff", "//", ":", "?a=b"]),
                st.text("abc019:/.%?-_~", max_size=8),
            ),
            max_size=4,
        ),
    ).map(lambda parts: parts[0] + "/" + "".join(parts[1])),
)


def test_nothing_a_client_sends_is_answered_with_a_fault(server: Running) -> None:
    with closing(server.connect()) as connection:
        streams = [connection.makefile("rb")]
        connections = [connection]

        @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"]),
            path=PATHS,
            body=BODIES,
            packed=st.booleans(),
        )
        def ask(method: str, path: str, body: bytes, packed: bool) -> None:
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


@pytest.fixture(scope="module")
def pushed(finished_run: FinishedRun) -> Iterator[Running]:
    with running(ServerOptions("m", str(finished_run.home / "pushed"))) as found:
        yield found


def test_the_pushed_model(pushed: Running) -> None:
    with pushed.rest as client:
        answer = client.post("/m:predict", json={"instances": [instance(0.5, 30)]}).json()
        named = set(answer["predictions"][0]) - {"familiarity"}  # A network does not tell.
        assert named == {"genre", "probability", "genres", "probabilities", "analyser", "sure"}
        assert sum(answer["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-5)
        many = client.post("/m:predict", json={"instances": [instance(0.5, 30)] * 100})
        assert len(many.json()["predictions"]) == 100


FEATURES = {name: [0.5] * 30 for name in SEGMENT_FEATURES}
NOT_TRACKS: dict[str, Mapping[str, Sequence[float]] | None] = {
    "has no feature timbre_01": {name.upper(): values for name, values in FEATURES.items()},
    "has no feature pitch_B": {name: values for name, values in FEATURES.items() if name != "pitch_B"},
    "has no segment": {name: [] for name in SEGMENT_FEATURES},
    "has features of different lengths: timbre_01 30, timbre_02 29": {**FEATURES, "timbre_02": [0.5] * 29},
    "is not a serialized tf.Example": None,
}


def serialized(features: Mapping[str, Sequence[float]] | None) -> bytes:
    if features is None:
        return b"no tf.Example"
    named = {name: tf.train.Feature(float_list=tf.train.FloatList(value=values)) for name, values in features.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString())


def test_what_is_no_track_has_no_genre(pushed: Running) -> None:
    good = serialized(FEATURES)
    empty = {"timbre": segments(1, 0), "pitches": segments(1, 0)}
    zero = {"timbre": segments(2, 3, 0), "pitches": segments(2, 3, 0)}
    zero["pitches"][0][2][11] = 1
    uneven = {"timbre": segments(1, 3), "pitches": segments(1, 2)}
    with pushed.rest as client, pushed.stub() as stub:

        def told(body: Any) -> str:
            answer = client.post("/m:predict", json=body)
            assert answer.status_code == 400, answer.text
            return str(answer.json()["error"])

        for words, features in NOT_TRACKS.items():
            examples = [good, serialized(features)]
            texts = [{"b64": base64.b64encode(one).decode()} for one in examples]
            for key in ("instances", "inputs"):
                assert told({"signature_name": "serving_examples", key: texts}).startswith(f"examples[1] {words}")
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = "m", "serving_examples"
            request.inputs["examples"].CopyFrom(tf.make_tensor_proto(examples))
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details().startswith(f"examples[1] {words}")
        assert "track 1 has no segment that is not zero" in told({"inputs": zero})
        assert "timbre has the shape [1, 3, 12], and pitches [1, 2, 12]" in told({"inputs": uneven})
        assert "shape" in told({"inputs": empty})
        one = {"signature_name": "serving_examples", "instances": [{"b64": base64.b64encode(good).decode()}]}
        assert client.post("/m:predict", json=one).status_code == 200
