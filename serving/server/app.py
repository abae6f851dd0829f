"""The server as a whole: it starts, answers until it is told to stop, and lets requests end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import grpc
import uvicorn

from serving.server.flags import ServerOptions, UsageError
from serving.server.grpc_services import MAX_CALLS, MAX_MESSAGE, add_services
from serving.server.manager import ModelManager
from serving.server.metrics import Metrics
from serving.server.model_config import ModelConfigFile
from serving.server.request_log import RequestLogs
from serving.server.rest import RestApplication, limited_protocol
from serving.server.service import Service

GRACE_S = 10
"""How long requests may go on after the server was told to stop."""

_LINGER_S = 0.5
_KEEP_ALIVE_S = 60
_BACKLOG = 1024


async def serve(options: ServerOptions, on_ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Serves until the event is set.

    Args:
        options: what and where.
        on_ready: called when the models that were there are loaded or have failed, and clients can connect.
        stop: ends it.

    Raises:
        UsageError: if an address is not free.
    """
    metrics = Metrics()
    models = ModelManager(options.models, options.manager, metrics)
    logs = RequestLogs(options.log_limits, metrics)
    service = Service(models, metrics, logs)
    grpc_server = _grpc_server(service, options)
    rest_socket = _listen(options.host, options.rest_port) if options.rest_port else None
    logs.configure({model.name: model.log for model in options.models if model.log})
    models.start()
    try:
        stopping = asyncio.create_task(stop.wait())
        looking = asyncio.create_task(asyncio.to_thread(models.wait_until_looked))
        await asyncio.wait({stopping, looking}, return_when=asyncio.FIRST_COMPLETED)
        await grpc_server.start()
        rest = asyncio.create_task(_serve_rest(service, options, rest_socket, stop))
        following = asyncio.create_task(_follow_config(service, options))
        if not stop.is_set():
            on_ready()
        await stopping
        following.cancel()
        service.stopping = True
        await asyncio.gather(_stop_grpc(grpc_server), rest)
    finally:
        if rest_socket:
            rest_socket.close()
        await asyncio.to_thread(models.stop)
        await asyncio.to_thread(logs.close)


async def _follow_config(service: Service, options: ServerOptions) -> None:
    if options.config_file and options.config_poll_wait_s:
        file = ModelConfigFile(options.config_file, options.models, service.reconfigure)
        while True:
            await asyncio.sleep(options.config_poll_wait_s)
            await asyncio.to_thread(file.look)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Lets SIGTERM and Ctrl-C set the event; the second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
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
    service: Service, options: ServerOptions, listening: socket.socket | None, stop: asyncio.Event
) -> None:
    if listening is None:
        return
    config = uvicorn.Config(
        RestApplication(service, options.rest),
        http=limited_protocol(options.rest.timeout_s),
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

    stopper = asyncio.create_task(stop_it())
    with suppress(asyncio.CancelledError):
        await server.serve([listening])
    stopper.cancel()


def _grpc_server(service: Service, options: ServerOptions) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would share its clients in silence.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    add_services(server, service)
    addresses = [f"{_bracketed(options.host)}:{options.port}"] if options.port else []
    if options.socket_path:
        addresses.append(f"unix:{options.socket_path}")
    for address in addresses:
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
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(f"could not listen on {_bracketed(host)}:{port} for REST: {error.strerror}") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
