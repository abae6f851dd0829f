"""``make load-serving``: a served model under load while versions change, and when it is told to stop."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from components.pusher.folder import INCOMING, roll_back
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import run_checkout_process
from deepmusic_genre.quiet import silent_import
from pipeline.pushed import pushed_models, pushed_version
from pipeline.settings import load_settings
from serving.serve import MODEL_NAME, development_command
from tools.load_clients import Load, Met, run_clients
from tools.serving_load import HOST, free_port

_CONNECTIONS = 16
_READY_S = 120
_STEP_S = 20
_STOP_S = 30
_WARMUP = Path("assets.extra", "tf_serving_warmup_requests")
_FIRST, _NEW, _BROKEN = 1, 2, 3
_REASONS = 5
_FAULT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if a request failed or a version did not go live as it should."""
    parser = argparse.ArgumentParser(prog="python -m tools.load_serving", description=__doc__)
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    options = parser.parse_args(arguments)
    _be_quiet()
    console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        settings = load_settings(options.settings, texts={"name": options.name} if options.name else {})
        model = Path(pushed_version(str(pushed_models(settings)), None))
        with tempfile.TemporaryDirectory(prefix="deepmusic-") as folder:
            return _Course(console, model, Path(folder), options.seconds).run()
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT


def _be_quiet() -> None:
    """What libraries say while they are imported is of no use here, in no process."""
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"})
    warnings.simplefilter("ignore")


class _Course:
    """What happens, in order, to copies of one model."""

    def __init__(self, console: Console, model: Path, folder: Path, seconds: float) -> None:
        self._console = console
        self._model = model
        self._pushed = folder / "pushed"
        self._log = folder / "server.log"
        self._seconds = seconds
        self._start = 0.0
        self._ports = free_port(), free_port()

    def run(self) -> int:
        shutil.copytree(self._model, self._pushed / str(_FIRST))
        command = development_command(self._pushed, *self._ports)
        with self._server(command.arguments) as server, self._clients() as (stopping, results):
            self._start = time.monotonic()
            self._wait_until(0.1)
            before = _resident_mib(server.pid)
            self._step(0.2, "push", self._push, lambda states: states.get(_NEW) == "AVAILABLE")
            self._step(0.4, "rollback", self._roll_back, lambda states: states.get(_FIRST) == "AVAILABLE")
            self._step(0.6, "broken push", self._push_broken, lambda states: states.get(_BROKEN) == "NOT LOADED")
            self._wait_until(1)
            after = _resident_mib(server.pid)
            stopping.set()
            server.send_signal(signal.SIGTERM)
            code = server.wait(_STOP_S)
            met: Mapping[str, Met] = results.get(timeout=_STOP_S)
            self._console.print(f"{self._seconds:5.0f} s  SIGTERM: the server ended with exit code {code}")
        self._console.print(_table(met))
        self._console.print(f"resident memory of the server: {before:,.0f} MiB, at the end {after:,.0f} MiB")
        for kind, one in met.items():
            for why, count in one.failures.most_common(_REASONS):
                self._console.print(f"  {kind}: {count} times {why}")
        return _FAULT if code or any(one.failures for one in met.values()) else 0

    @contextmanager
    def _server(self, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        with (
            self._log.open("w") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            try:
                with self._console.status("starting the server"):
                    line = process.stdout.readline() if process.stdout else ""
                if "ready" not in line:
                    raise PipelineInputError(f"The server did not start: {self._log.read_text().strip()}")
                yield process
            finally:
                process.kill()

    @contextmanager
    def _clients(self) -> Iterator[tuple[Any, Any]]:
        context = multiprocessing.get_context("spawn")
        stopping, results = context.Event(), context.Queue()
        bodies, requests = _requests(self._model)
        path = f"/v1/models/{MODEL_NAME}:predict"
        longest = self._seconds + _READY_S
        load = Load(self._ports[1], self._ports[0], path, bodies, requests, _CONNECTIONS, longest)
        clients = context.Process(target=run_clients, args=(load, stopping, results), daemon=True)
        clients.start()
        try:
            yield stopping, results
        finally:
            clients.kill()

    def _wait_until(self, share: float) -> None:
        with self._console.status(f"{_CONNECTIONS} connections"):
            time.sleep(max(0.0, self._start + share * self._seconds - time.monotonic()))

    def _step(
        self, share: float, name: str, act: Callable[[], None], reached: Callable[[Mapping[int, str]], bool]
    ) -> None:
        self._wait_until(share)
        start = time.monotonic()
        act()
        while not reached(states := self._states()):
            if time.monotonic() - start > _STEP_S:
                raise PipelineInputError(f"{name}: not seen by the server within {_STEP_S} s, versions are {states}.")
            time.sleep(0.05)
        took = time.monotonic() - start
        told = ", ".join(f"{version} {state}" for version, state in sorted(states.items()))
        self._console.print(f"{start - self._start:5.0f} s  {name}: after {took:.1f} s versions are {told}")

    def _states(self) -> dict[int, str]:
        answer = httpx.get(f"http://{HOST}:{self._ports[1]}/v1/models/{MODEL_NAME}", timeout=_STEP_S).json()
        return {
            int(one["version"]): one["state"] if one["status"]["error_code"] == "OK" else "NOT LOADED"
            for one in answer["model_version_status"]
        }

    def _push(self) -> None:
        whole = shutil.copytree(self._model, self._pushed / INCOMING)
        Path(whole).rename(self._pushed / str(_NEW))

    def _roll_back(self) -> None:
        roll_back(str(self._pushed), _FIRST)

    def _push_broken(self) -> None:
        broken = self._pushed / str(_BROKEN)
        shutil.copytree(self._model, broken, ignore=shutil.ignore_patterns("variables.data*"))


def _requests(model: Path) -> tuple[list[bytes], list[bytes]]:
    """The model's own warm-up requests, which are real tracks, for REST and for gRPC."""
    with silent_import():
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

    bodies, requests = [], []
    for record in tf.data.TFRecordDataset(str(model / _WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        request.model_spec.name = MODEL_NAME
        requests.append(request.SerializeToString())
        # A serialized example is no text, and has an encoding of its own in JSON.
        if "examples" not in request.inputs:
            arrays = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            bodies.append(orjson.dumps({"inputs": arrays}, option=orjson.OPT_SERIALIZE_NUMPY))
    return bodies, requests


def _table(met: Mapping[str, Met]) -> Table:
    table = Table()
    table.add_column("")
    for name in ("requests sent", "answered", "failed", "slowest s"):
        table.add_column(name, justify="right")
    table.add_column("answered by")
    for kind, one in met.items():
        counts = (one.sent, one.answered.total(), one.failures.total())
        by = ", ".join(f"version {name}: {count:,}" for name, count in sorted(one.answered.items()) if name)
        table.add_row(kind, *(f"{count:,}" for count in counts), f"{one.slowest_s:.2f}", by)
    return table


def _resident_mib(process: int) -> float:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)  # noqa: S607 - on the PATH of every Unix
    return int(shown.stdout) / 1024


if __name__ == "__main__":
    run_checkout_process(main)
