"""The load of ``make benchmark-serving``: clients that ask as fast as they are answered, in processes of their own."""

from __future__ import annotations

import http.client
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing.pool import Pool

import grpc

HOST = "127.0.0.1"
PROCESSES = 2
"""More than one, so that the clients' own work is not what limits; no more than it takes."""

GRPC_METHOD = "/tensorflow.serving.PredictionService/Predict"
_TIMEOUT_S = 30
_LEAD_S = 0.3
_MAX_REQUESTS = 100_000

Call = Callable[[bytes], object]

_requests: Mapping[str, list[bytes]] = {}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server((HOST, 0)) as found:
        return int(found.getsockname()[1])


class LoadError(Exception):
    """A request that was not answered as it should be, in a line."""


@dataclass(frozen=True)
class Target:
    """What is asked.

    Attributes:
        requests: which of the requests that the clients were given.
        port: of the server on this machine.
        path: what REST requests are posted to; an empty one for gRPC.
    """

    requests: str
    port: int
    path: str = ""


@dataclass(frozen=True)
class Measured:
    """What clients met.

    Attributes:
        latencies: seconds, one a request.
        seconds: how long they went on.
    """

    latencies: Sequence[float]
    seconds: float


@contextmanager
def clients(requests: Mapping[str, list[bytes]]) -> Iterator[Pool]:
    """Processes that know the requests, by name, and wait for :func:`load`."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES, _remember, [requests]) as pool:
        yield pool


def load(pool: Pool, target: Target, connections: int, seconds: float) -> Measured:
    """Asks over a number of connections at the same time, each request after the last one's answer.

    Raises:
        LoadError: a request failed.
    """
    start = time.monotonic() + _LEAD_S
    shares = [len(range(place, connections, PROCESSES)) for place in range(PROCESSES)]
    # The clock is the machine's, so that all start together.
    work = [(target, place, share, start, seconds) for place, share in enumerate(shares) if share]
    return Measured(list(chain.from_iterable(pool.starmap(_ask, work, chunksize=1))), seconds)


def repeat(calls: Sequence[Callable[[int], object]], start: float, seconds: float) -> list[float]:
    """Calls each in a thread of its own, again and again, with the number of the call, until the time is up.

    Args:
        calls: at least one.
        start: when, on the clock of :func:`time.monotonic`.
        seconds: how long.

    Returns:
        How long every call took, in seconds.
    """

    def run(place: int) -> list[float]:
        taken: list[float] = []
        time.sleep(max(start - time.monotonic(), 0))
        now = time.monotonic()
        while now < start + seconds and len(taken) < _MAX_REQUESTS:
            calls[place](len(taken))
            before, now = now, time.monotonic()
            taken.append(now - before)
        return taken

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(chain.from_iterable(threads.map(run, range(len(calls)))))


def _remember(requests: Mapping[str, list[bytes]]) -> None:
    global _requests  # noqa: PLW0603 - a process is told once, not with every round
    _requests = requests
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started them.


def _ask(target: Target, place: int, connections: int, start: float, seconds: float) -> list[float]:
    requests = _requests[target.requests]
    opened = [_rest(target) if target.path else _grpc(target) for _ in range(connections)]
    calls = []
    for number, (call, _) in enumerate(opened):
        call(requests[0])
        mine = requests[(place + number * PROCESSES) % len(requests) :] + requests
        calls.append(lambda turn, call=call, mine=mine: call(mine[turn % len(requests)]))
    try:
        return repeat(calls, start, seconds)
    finally:
        for _, close in opened:
            close()


def _rest(target: Target) -> tuple[Call, Callable[[], None]]:
    connection = http.client.HTTPConnection(HOST, target.port, timeout=_TIMEOUT_S)

    def call(body: bytes) -> None:
        connection.request("POST", target.path, body)
        response = connection.getresponse()
        content = response.read()
        if response.status != http.client.OK:
            raise LoadError(f"the server answered {response.status} to {target.requests}: {content[:200]!r}")

    return call, connection.close


def _grpc(target: Target) -> tuple[Call, Callable[[], None]]:
    # Else all channels to one address share a connection.
    channel = grpc.insecure_channel(f"{HOST}:{target.port}", [("grpc.use_local_subchannel_pool", 1)])
    method = channel.unary_unary(GRPC_METHOD)

    def call(body: bytes) -> None:
        try:
            method(body, timeout=_TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise LoadError(
                f"the server answered {error.code().name} to {target.requests}: {error.details()}"
            ) from None

    return call, channel.close
