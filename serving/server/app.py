"""The server as a whole: it starts, answers until it is told to stop, and lets requests end."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import uvicorn
from starlette.types import ASGIApp

from deepmusic_genre.memory import return_what_is_free
from serving.server.flags import ServerOptions, UsageError
from serving.server.grpc_services import MAX_MESSAGE, add_services
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.request_log import RequestLog
from serving.server.rest import MakePage, rest_application
from serving.server.service import Service

GRACE_S = 10
"""How long requests may go on after the server was told to stop."""

MAX_HEADER = 64 << 10
"""Bytes of a request's line and headers."""

MAX_CONNECTIONS = 1000
"""REST connections at one time; further ones are answered 503."""

_LINGER_S = 0.5
_KEEP_ALIVE_S = 60
# Later than the application, which answers before it closes.
_LATE_S = 2.0
_SWEEP_S = 0.5
_TRIM_S = 5.0
_BACKLOG = 1024


async def serve(
    options: ServerOptions, on_ready: Callable[[], None], stop: asyncio.Event, page: MakePage | None = None
) -> None:
    """Serves until the event is set.

    Args:
        options: What to serve, and where.
        on_ready: Called when the version that was there is loaded or has failed, and clients can connect.
        stop: Event that ends it.
        page: Maker of what answers beside the REST interface.

    Raises:
        UsageError: if an address is not free.
    """
    metrics = Metrics()
    model = ModelManager(options.name, options.base_path, options.load, metrics)
    log = RequestLog(options.name, options.log, metrics) if options.log else None
    service = Service(model, metrics, log)
    grpc_server = _grpc_server(service, options)
    rest_socket = _listen(options.host, options.rest_port) if options.rest_port else None
    model.start()
    trimming = asyncio.create_task(_return_memory())
    try:
        stopping = asyncio.create_task(stop.wait())
        looking = asyncio.create_task(asyncio.to_thread(model.wait_until_looked))
        await asyncio.wait({stopping, looking}, return_when=asyncio.FIRST_COMPLETED)
        await grpc_server.start()
        application = rest_application(service, options.rest, page)
        rest = asyncio.create_task(_serve_rest(application, rest_socket, options.rest.timeout_s, stop))
        if not stop.is_set():
            on_ready()
        await stopping
        service.stopping = True
        await asyncio.gather(_stop_grpc(grpc_server), rest)
    finally:
        trimming.cancel()
        if rest_socket:
            rest_socket.close()
        await asyncio.to_thread(model.stop)
        if log:
            await asyncio.to_thread(log.close)


async def _return_memory() -> None:
    """Has what large requests took, and freed, go back to the system."""
    while True:
        await asyncio.sleep(_TRIM_S)
        await asyncio.to_thread(return_what_is_free)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Lets SIGTERM and Ctrl-C set the event; the second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ask, number)


async def _stop_grpc(server: grpc.aio.Server) -> None:
    # What reaches a server that stops is cancelled, as if it had failed: clients are told to go elsewhere beforehand.
    await asyncio.sleep(_LINGER_S)
    await server.stop(GRACE_S)


class _RestServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to whoever runs both interfaces."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is on its way over open connections, too, as the last that comes over each."""
        self.server_state.default_headers.append((b"connection", b"close"))
        for listening in self.servers:
            listening.close()
        for each in sockets or []:
            each.close()
        await asyncio.sleep(_LINGER_S)
        await super().shutdown(sockets)


async def _serve_rest(
    application: ASGIApp, listening: socket.socket | None, timeout_s: float, stop: asyncio.Event
) -> None:
    if listening is None:
        return
    config = uvicorn.Config(
        application,
        # httptools drops the body of a client that offers HTTP/2, as Java's does.
        http="h11",
        h11_max_incomplete_event_size=MAX_HEADER,
        limit_concurrency=MAX_CONNECTIONS,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _RestServer(config)

    async def stop_it() -> None:
        await stop.wait()
        server.should_exit = True

    beside = [
        asyncio.create_task(stop_it()),
        asyncio.create_task(_cut_off(server.server_state.connections, timeout_s + _LATE_S)),
    ]
    with suppress(asyncio.CancelledError):
        await server.serve([listening])
    for task in beside:
        task.cancel()


async def _cut_off(connections: set[Any], timeout_s: float) -> None:
    """Ends connections with half a request's headers, or with an answer that is not read, after a time.

    Uvicorn limits only how long a connection may rest between two requests.
    """
    seen: dict[Any, tuple[Any, float]] = {}
    while True:
        await asyncio.sleep(_SWEEP_S)
        now = time.monotonic()
        stuck = {one: one.cycle for one in connections if _is_stuck(one)}
        since = {one: start for one, (cycle, start) in seen.items() if one in stuck and stuck[one] is cycle}
        seen = {one: (cycle, since.get(one, now)) for one, cycle in stuck.items()}
        for one, (_, start) in seen.items():
            if now - start > timeout_s:
                one.transport.abort()


def _is_stuck(connection: Any) -> bool:
    """Whether a connection of uvicorn's waits for its client, and not for the next request."""
    if connection.cycle is None:
        return True
    rests = connection.timeout_keep_alive_task is not None
    return connection.cycle.response_complete and (not rests or connection.transport.get_write_buffer_size() > 0)


def _grpc_server(service: Service, options: ServerOptions) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would share its clients in silence.
            ("grpc.so_reuseport", 0),
        ],
    )
    add_services(server, service)
    if options.port:
        address = f"{_bracketed(options.host)}:{options.port}"
        try:
            bound = server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise UsageError(f"could not listen on {address} for gRPC: the address is in use or not this machine's")
    return server


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # Else an answer's second part waits for the client to acknowledge the first: 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise UsageError(f"could not listen on {_bracketed(host)}:{port} for REST: {error.strerror}") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
