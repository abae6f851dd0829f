"""Requests while the stand-in stops, and while versions change."""

import queue
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from serving.server.flags import ServerOptions
from serving.server.manager import ModelConfig
from tests.conftest import ROOT, FinishedRun
from tests.test_serving_manager import save_model
from tests.test_serving_server import instance, predict_request, running
from tools.load_clients import Load, Met, run_clients


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("stopped")
    save_model(base, 1)
    return base


def test_requests_in_flight_are_answered_when_the_server_stops(models: Path) -> None:
    results: queue.Queue[dict[str, Met]] = queue.Queue()
    for _ in range(5):
        stopping = threading.Event()
        with running(ServerOptions([ModelConfig("m", str(models))])) as server:
            body = orjson.dumps({"instances": [instance()]})
            ports = server.options.rest_port, server.options.port
            load = Load(*ports, "/v1/models/m:predict", [body], [predict_request().SerializeToString()], 16, 30)
            clients = threading.Thread(target=run_clients, args=(load, stopping, results))
            clients.start()
            time.sleep(1)
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
