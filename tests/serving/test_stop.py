"""The stand-in as a process: it starts, stops, and is under load while versions change."""

import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from serving.server.flags import ServerOptions
from tests.conftest import ROOT, FinishedRun, free_port
from tests.support.serving import instance, predict_request, received, running, save_model
from tools.load_clients import Load, Met, run_clients

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("stopped")
    save_model(base, 1)
    return base


def test_requests_in_flight_are_answered_when_the_server_stops(models: Path) -> None:
    results: queue.Queue[dict[str, Met]] = queue.Queue()
    for _ in range(3):
        stopping = threading.Event()
        with running(ServerOptions("m", str(models))) as server:
            body = orjson.dumps({"instances": [instance()]})
            ports = server.options.rest_port, server.options.port
            load = Load(*ports, "/v1/models/m:predict", [body], [predict_request().SerializeToString()], 16, 30)
            clients = threading.Thread(target=run_clients, args=(load, stopping, results))
            clients.start()
            time.sleep(3)
            stopping.set()
        clients.join(40)
        met = results.get_nowait()
        assert {kind: one.failures for kind, one in met.items()} == {"REST": {}, "gRPC": {}}
        assert all(one.sent == one.answered.total() > 10 for one in met.values()), met


def test_no_request_fails_while_versions_change(finished_run: FinishedRun, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"output: {finished_run.home.parent}\n")
    command = [sys.executable, "-m", "tools.load_serving", "--settings", str(settings), "--name", "small"]
    result = subprocess.run([*command, "--seconds", "3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result
    steps = re.findall(r"^ +\d+ s  (push|rollback|broken push|SIGTERM): ", result.stdout, re.MULTILINE)
    assert steps == ["push", "rollback", "broken push", "SIGTERM"]
    assert "1 AVAILABLE, 2 END, 3 NOT LOADED" in result.stdout
    counts = re.findall(r"^│ (REST|gRPC) +│ +([\d,]+) │ +([\d,]+) │ +0 │", result.stdout, re.MULTILINE)
    assert [kind for kind, *_ in counts] == ["REST", "gRPC"]
    assert all(sent == answered for _, sent, answered in counts)


@contextmanager
def start_process(*flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "serving.server", *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_process_is_ready_tells_of_a_port_in_use_and_drains(models: Path) -> None:
    port, rest_port = free_port(), free_port()
    flags = [f"--model_base_path={models}", "--model_name=m", f"--port={port}", f"--rest_api_port={rest_port}"]
    with start_process(*flags) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert f"ready, m: REST on 127.0.0.1:{rest_port}, gRPC on 127.0.0.1:{port} (for development only)" in line
        for taken, other in ((port, f"--rest_api_port={free_port()}"), (rest_port, f"--port={free_port()}")):
            flag = f"--port={port}" if taken == port else f"--rest_api_port={rest_port}"
            with start_process(flags[0], flag, other) as second:
                _, said = second.communicate(timeout=60)
                assert (second.returncode, len(said.splitlines())) == (2, 1), said
                assert f"could not listen on 127.0.0.1:{taken}" in said
        body = json.dumps({"instances": [instance()]}).encode()
        head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", rest_port), timeout=30) as connection:
            connection.sendall(head + body[:9])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[9:])
            assert b'"total":48.0' in received(connection)
        assert process.wait(10) == 0
        assert "Traceback" not in process.communicate()[1]
