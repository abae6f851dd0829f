"""Clients that ask a server until it is gone, in a process of their own, and remember what they met."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from deepmusic_genre.quiet import silent_import
from tools.serving_load import GRPC_METHOD, HOST

_TIMEOUT_S = 30

Ask = Callable[[bytes], str]
"""Sends a request; answers with what answered."""


@dataclass(frozen=True)
class Load:
    """What is asked, of whom.

    Attributes:
        rest_port, grpc_port: of the server on this machine.
        path: what REST requests are posted to.
        rest_bodies: REST requests.
        grpc_requests: serialized PredictRequests.
        connections: how many of both kinds together.
        longest_s: when to give up, should the server not go.
    """

    rest_port: int
    grpc_port: int
    path: str
    rest_bodies: Sequence[bytes]
    grpc_requests: Sequence[bytes]
    connections: int
    longest_s: float


@dataclass
class Met:
    """What the clients of one kind met.

    Attributes:
        sent: requests that reached a connection, answered or not.
        answered: how many by which version; REST does not tell, and has an empty one.
        failures: how often for which reason.
        slowest_s: the longest that an answer took.
    """

    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def add(self, other: Met) -> None:
        """Takes over what another met."""
        self.sent += other.sent
        self.answered += other.answered
        self.failures += other.failures
        self.slowest_s = max(self.slowest_s, other.slowest_s)


class _RefusedError(Exception):
    """Nobody listens: nothing was sent."""


class _NoAnswerError(Exception):
    """A request that was sent and not answered as it should be."""


def run_clients(load: Load, stopping: Any, results: Any) -> None:
    """Asks over all connections, half of them REST's, each request after the last one's answer.

    Args:
        load: what is asked.
        stopping: an event; only after it is set, the server may refuse connections.
        results: a queue that is given a Met for REST and one for gRPC.
    """
    kinds = {"REST": (_rest_client, load.rest_bodies), "gRPC": (_grpc_client, load.grpc_requests)}
    mets = [(kind, Met()) for number in range(load.connections) for kind in [list(kinds)[number % 2]]]
    end = time.monotonic() + load.longest_s
    threads = [
        threading.Thread(target=_ask_on, args=(kinds[kind][0](load), kinds[kind][1], met, stopping, end))
        for kind, met in mets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals = {kind: Met() for kind in kinds}
    for kind, met in mets:
        totals[kind].add(met)
    results.put(totals)


def _ask_on(ask: Ask, requests: Sequence[bytes], met: Met, stopping: Any, end: float) -> None:
    for request in cycle(requests):
        start = time.monotonic()
        if start > end:
            return
        try:
            answerer = ask(request)
        except _RefusedError:
            if stopping.is_set():
                return
            met.failures["connection refused"] += 1
            time.sleep(0.1)
        except _NoAnswerError as error:
            met.failures[str(error)] += 1
        else:
            met.answered[answerer] += 1
            met.slowest_s = max(met.slowest_s, time.monotonic() - start)
        met.sent += 1


def _rest_client(load: Load) -> Ask:
    connection = http.client.HTTPConnection(HOST, load.rest_port, timeout=_TIMEOUT_S)

    def ask(body: bytes) -> str:
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError as error:
            raise _RefusedError from error
        try:
            connection.request("POST", load.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _NoAnswerError(f"{type(error).__name__}: {error}") from error
        if response.status != http.client.OK:
            raise _NoAnswerError(f"{response.status}: {content[:200].decode(errors='replace')}")
        return ""

    return ask


def _grpc_client(load: Load) -> Ask:
    with silent_import():
        import grpc
        from tensorflow_serving.apis import predict_pb2

    from serving.server.grpc_services import STOPPING

    # A connection of its own; else all channels to one server share one.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
    call = grpc.insecure_channel(f"{HOST}:{load.grpc_port}", options=options).unary_unary(GRPC_METHOD)

    def ask(request: bytes) -> str:
        try:
            content = call(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            told = str(error.details())
            if error.code() is grpc.StatusCode.UNAVAILABLE and ("Connection refused" in told or told == STOPPING):
                raise _RefusedError from error
            raise _NoAnswerError(f"{error.code().name}: {error.details()}") from error
        return str(predict_pb2.PredictResponse.FromString(content).model_spec.version.value)

    return ask
