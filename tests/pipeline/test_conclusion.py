"""How a run's end is told: exit codes, the line, and a webhook that a real HTTP server listens at."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deepmusic_genre.errors import GateClosed, PipelineInputError
from deepmusic_genre.exit_codes import FAULT, GATE
from pipeline.run import conclusion, webhook
from pipeline.run.conclusion import Stop, conclude_stopped, stop_of
from pipeline.run.webhook import VARIABLE, tell
from pipeline.settings import load_settings

PATH = "T000-xyz"


class _Listener:
    """A chat service that answers with what it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.seconds = 0.0
        self.headers: dict[str, str] = {}
        self.received: list[dict[str, Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json"
                assert self.path == f"/{PATH}"
                time.sleep(listener.seconds)
                listener.received.append(json.loads(content))
                self.send_response(listener.status)
                for name, value in listener.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing: the tests' output is not its place."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/{PATH}"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at, nor can meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Listener]:
    listening = _Listener()
    monkeypatch.setenv(VARIABLE, listening.address)
    thread = threading.Thread(target=listening.server.serve_forever, args=(0.02,))
    thread.start()
    yield listening
    listening.server.shutdown()
    listening.server.server_close()
    thread.join()


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str = "") -> None:
        self.lines.append(text)


def _conclude(stop: Stop) -> tuple[int, list[str]]:
    terminal: Any = _Lines()
    return conclude_stopped(load_settings(texts={"name": "mine"}), stop, terminal), terminal.lines


def test_a_gate_is_told_by_exit_code_line_and_webhook(listener: _Listener) -> None:
    reasons = ("macro F1 is 0.3, asked for: at least 0.5", "accuracy is 0.4, asked for: at least 0.6")
    code, lines = _conclude(Stop(("ModelValidator",), reasons, gate=True))
    assert code == GATE == 3
    assert lines == ["gate: ModelValidator kept the model from being pushed"]
    assert listener.received == [
        {
            "text": f"mine: ModelValidator kept the model from being pushed: {reasons[0]}",
            "pipeline": "mine",
            "outcome": "gate",
            "components": ["ModelValidator"],
            "reasons": list(reasons),
            "exit_code": 3,
        }
    ]


@pytest.mark.parametrize(
    ("cause", "components", "code", "text"),
    [
        (
            GateClosed("1 anomaly:\n  timbre_07"),
            ["AnomalyGate"],
            GATE,
            "AnomalyGate kept the model from being pushed: 1",
        ),
        (PipelineInputError("no data"), ["TrackExampleGen"], FAULT, "the run failed in TrackExampleGen: no data"),
        (ZeroDivisionError("by zero"), ["Pusher"], FAULT, "the run failed in Pusher: ZeroDivisionError: by zero"),
        (None, ["Pusher"], FAULT, "the run failed in Pusher: its input is not there"),
        (PipelineInputError("busy"), [], FAULT, "the run failed: busy"),
    ],
    ids=["gate", "input", "fault", "no input", "before the first component"],
)
def test_what_was_raised_decides_on_the_exit_code(
    listener: _Listener, cause: BaseException | None, components: list[str], code: int, text: str
) -> None:
    assert _conclude(stop_of(cause, *components))[0] == code
    (message,) = listener.received
    assert message["text"].startswith(f"mine: {text}")
    assert "\n" not in message["text"]
    assert message["exit_code"] == code


def test_without_a_webhook_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert _conclude(Stop(("ModelCheck",), ("broken",), gate=True)) == (
        GATE,
        ["gate: ModelCheck kept the model from being pushed"],
    )


def test_a_clean_that_fails_changes_nothing_and_is_said(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "metadata.sqlite").write_text("damaged" * 100)
    terminal: Any = _Lines()
    settings = load_settings(assignments=["keep.runs=1"], texts={"name": "mine", "output": str(tmp_path)})
    conclusion._clean(settings, terminal)
    (line,) = terminal.lines
    assert line.startswith("Not everything old could be removed: The metadata of runs in ")
    assert "are damaged (file is not a database)" in line


@pytest.mark.parametrize(
    ("status", "headers"), [(500, {}), (404, {}), (302, {"Location": "/elsewhere"})], ids=["500", "404", "redirect"]
)
def test_a_webhook_that_refuses_changes_nothing_and_is_said(
    listener: _Listener, status: int, headers: dict[str, str]
) -> None:
    listener.status, listener.headers = status, headers
    code, lines = _conclude(Stop(("ModelCheck",), ("broken",), gate=True))
    assert code == GATE
    assert lines[1:] == [f"The webhook in {VARIABLE} was not told: it answers with the status {status}."]
    assert len(listener.received) == 1


def test_a_webhook_that_does_not_answer_is_not_waited_for(listener: _Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_WAIT_SECONDS", 0.3)
    listener.seconds = 2
    start = time.monotonic()
    assert "was not told" in (tell({"text": "x"}) or "")
    assert time.monotonic() - start < 1.5


def test_a_webhook_that_answers_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_WAIT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{server.getsockname()[1]}/{PATH}")

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(15):
                    time.sleep(0.2)
                    connection.sendall(b"X")

        thread = threading.Thread(target=drip)
        thread.start()
        start = time.monotonic()
        assert tell({"text": "x"}) == f"The webhook in {VARIABLE} was not told: it did not answer within 0.5 seconds."
        assert time.monotonic() - start < 1.5
        thread.join()


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:{closed}/{path}", "ftp://nowhere/{path}", "http://[{path}", "{path}", "\0{path}"],
    ids=["closed", "ftp", "broken", "no address", "zero byte"],
)
def test_an_address_that_is_of_no_use_is_said_without_showing_it(
    address: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {VARIABLE: address.format(closed=closed_port, path=PATH)})
    line = tell({"text": "x"})
    assert line is not None
    assert line.startswith(f"The webhook in {VARIABLE} was not told: it cannot be reached (")
    assert PATH not in line


def test_the_address_stands_in_no_log(listener: _Listener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _conclude(Stop(("ModelCheck",), ("broken",), gate=True))
    assert listener.received
    assert "ModelCheck kept the model from being pushed, exit code 3: broken" in caplog.text
    assert PATH not in caplog.text
    assert str(listener.server.server_port) not in caplog.text
