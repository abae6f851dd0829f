"""``make benchmark-serving``: how long the development server takes, beside the same model called in the process.

Every way of asking has its turn in every round, so that a machine with other work hits all alike; figures are medians
over the rounds, ratios those of figures of one round.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import run_checkout_process
from deepmusic_genre.quiet import silent_import
from deepmusic_genre.tracks.examples import encode_segments
from deepmusic_genre.tracks.registry import source_for
from deepmusic_genre.tracks.track import Track
from pipeline.console import relative
from pipeline.pushed import pushed_models, pushed_version
from pipeline.settings import load_settings
from serving.serve import MODEL_NAME
from tools.environment import ROOT
from tools.serving_load import LoadError, Measured, Target, clients, free_port, load, repeat

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

IN_PROCESS = "in the process"
ROWS, EXAMPLES, GRPC = "REST, rows", "REST, examples", "gRPC, arrays"
CONNECTIONS = (1, 4, 16)

REAL_DATA = "DEEPMUSIC_REAL_DATA"
"""Environment variable: the folder of real analyses, which are asked with where ``--data`` names no other."""

_TRACKS = 24
_EXAMPLES_SIGNATURE = "serving_examples"

Results = dict[tuple[str, int], list[Measured]]


@dataclass(frozen=True)
class Length:
    """How long it is measured: rounds, and seconds of one way of asking in one."""

    rounds: int = 4
    seconds: float = 0.9


def main(arguments: Sequence[str] | None = None, length: Length | None = None) -> int:
    """Prints the table; 1 if there is no model or no track, or a request failed."""
    parser = ArgumentParser(prog="python -m tools.benchmark_serving", description=__doc__)
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("--data", type=Path, help="folder of audio analyses to ask with")
    options = parser.parse_args(arguments)
    # Wide enough for the table where there is no terminal to ask.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    try:
        models = pushed_models(load_settings(options.settings, texts={"name": options.name} if options.name else {}))
        with console.status("reading tracks") as status:
            tracks = _tracks(options.data or Path(os.environ.get(REAL_DATA) or models.parent / "catalogue"))
            results = measure(models, tracks, length or Length(), status.update)
    except (PipelineInputError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    segments = f"{len(tracks)} tracks of {np.median([len(track.segments) for track in tracks]):,.0f} segments"
    console.print(table(results, f"{relative(models)}: one of {segments} (median) a request"))
    return 0


def measure(models: Path, tracks: Sequence[Track], length: Length, tell: Callable[[str], None]) -> Results:
    """What clients met, by how they asked and over how many connections, once a round.

    Raises:
        LoadError: a request failed.
    """
    tell("starting the server")
    with ExitStack() as stack:
        requests = _requests(tracks)
        ports = stack.enter_context(_server(models))
        pool = stack.enter_context(clients(requests))
        in_process = _in_process(models, tracks)
        ways: list[tuple[str, int, Callable[[], Measured]]] = []
        for connections in CONNECTIONS:
            ways.append((IN_PROCESS, connections, partial(in_process, connections, length.seconds)))
            for name in requests:
                ways.append((name, connections, _asking(pool, name, ports, connections, length.seconds)))
        results: Results = {}
        for number in range(length.rounds):
            for name, connections, call in ways:
                tell(f"round {number + 1} of {length.rounds}: {name}, {connections} at a time")
                results.setdefault((name, connections), []).append(call())
    return results


def table(results: Results, title: str) -> Table:
    """Medians over the rounds, and ratios to the same model in the process in as many threads."""
    found = Table(title=title, title_justify="left")
    found.add_column("connections", justify="right")
    found.add_column("asked by", no_wrap=True)
    for heading in ("median ms", "99th percentile", "requests/s", "median x", "requests/s x"):
        found.add_column(heading, justify="right", no_wrap=True)
    for name, connections in sorted(results, key=lambda key: key[1]):
        rounds, reference = results[name, connections], results[IN_PROCESS, connections]
        if name == IN_PROCESS and connections > CONNECTIONS[0]:
            found.add_section()
        found.add_row(
            str(connections),
            name,
            f"{np.median([_milliseconds(one, 50) for one in rounds]):.2f}",
            f"{np.median([_milliseconds(one, 99) for one in rounds]):.2f}",
            f"{np.median([len(one.latencies) / one.seconds for one in rounds]):,.0f}",
            f"{_ratio(rounds, reference, partial(_milliseconds, percentile=50)):.2f}",
            f"{_ratio(rounds, reference, lambda one: len(one.latencies)):.2f}",
        )
    return found


def _ratio(rounds: Sequence[Measured], others: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    return float(np.median([figure(one) / figure(other) for one, other in zip(rounds, others, strict=True)]))


def _milliseconds(measured: Measured, percentile: float) -> float:
    return float(np.percentile(measured.latencies, percentile)) * 1000


def _tracks(folder: Path) -> list[Track]:
    from deepmusic_genre import read_tracks

    if not folder.is_dir():
        raise PipelineInputError(f"The data folder {folder} is not there: DATA= names one with audio analyses.")
    files = sorted(str(path) for path in folder.rglob("*") if source_for(path.name) and path.is_file())
    random.Random(0).shuffle(files)  # noqa: S311 - no secret
    found = [item for _, item in read_tracks(files[:_TRACKS]) if isinstance(item, Track)]
    if not found:
        raise PipelineInputError(f"No track could be read below {folder}.")
    return found[:_TRACKS]


def _arrays(track: Track) -> dict[str, np.ndarray[Any, Any]]:
    timbre, pitches = np.split(track.segments, 2, axis=1)
    return {"timbre": np.ascontiguousarray(timbre), "pitches": np.ascontiguousarray(pitches)}


def _requests(tracks: Sequence[Track]) -> dict[str, list[bytes]]:
    arrays = [_arrays(track) for track in tracks]
    texts = [base64.b64encode(encode_segments(track.segments)).decode() for track in tracks]
    return {
        ROWS: [orjson.dumps({"instances": [one]}, option=orjson.OPT_SERIALIZE_NUMPY) for one in arrays],
        EXAMPLES: [
            orjson.dumps({"signature_name": _EXAMPLES_SIGNATURE, "instances": [{"b64": text}]}) for text in texts
        ],
        GRPC: [_message(one) for one in arrays],
    }


def _message(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    with silent_import():
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL_NAME
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array[np.newaxis]))
    return bytes(request.SerializeToString())


def _in_process(models: Path, tracks: Sequence[Track]) -> Callable[[int, float], Measured]:
    with silent_import():
        import tensorflow as tf

    from serving.server.servable import Servable
    from serving.server.signatures import DEFAULT_SIGNATURE

    tf.get_logger().setLevel("ERROR")
    servable = Servable(pushed_version(str(models), None))
    signature = servable.signatures[DEFAULT_SIGNATURE]
    inputs = [{name: array[np.newaxis] for name, array in _arrays(track).items()} for track in tracks]

    def call(threads: int, seconds: float) -> Measured:
        def caller(place: int) -> Callable[[int], object]:
            return lambda turn: servable.run(signature, inputs[(place + turn) % len(inputs)])

        return Measured(repeat([caller(place) for place in range(threads)], time.monotonic(), seconds), seconds)

    return call


def _asking(pool: Pool, name: str, ports: tuple[int, int], connections: int, seconds: float) -> Callable[[], Measured]:
    port, rest_port = ports
    path = f"/v1/models/{MODEL_NAME}:predict"
    target = Target(name, port) if name == GRPC else Target(name, rest_port, path)
    return partial(load, pool, target, connections, seconds)


@contextmanager
def _server(models: Path) -> Iterator[tuple[int, int]]:
    """A server of its own; its ports for gRPC and REST."""
    ports = free_port(), free_port()
    command = [sys.executable, "-m", "serving.server", f"--model_name={MODEL_NAME}"]
    command += [f"--model_base_path={models.absolute()}", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if process.stdout is None or "ready" not in process.stdout.readline():
                raise LoadError("the server does not start: `deepmusic serve` says why")
            yield ports
        finally:
            process.kill()


if __name__ == "__main__":
    run_checkout_process(main)
