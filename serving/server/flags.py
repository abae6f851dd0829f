"""The command line: the flags that the server shares with TF Serving, and some of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from serving.server.errors import ServingError
from serving.server.manager import LoadSettings
from serving.server.request_log import LogConfig, make_folder
from serving.server.rest import RestSettings

PROGRAM = "deepmusic-serving"


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, and where.

    Attributes:
        name: Name of the model for clients.
        base_path: Folder of its versions.
        load: How versions are loaded.
        rest: How the REST interface behaves.
        host: Address to listen on.
        port: Port of gRPC; 0 for none.
        rest_port: Port of REST; 0 for none.
        page: Whether there is a page beside the REST interface.
        log: Log of the requests; None for none.
    """

    name: str
    base_path: str
    load: LoadSettings = field(default_factory=LoadSettings)
    rest: RestSettings = field(default_factory=RestSettings)
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 0
    page: bool = False
    log: LogConfig | None = None


class UsageError(Exception):
    """A mistake in the flags or the files they name, in a line."""


def parse_flags(arguments: Sequence[str]) -> ServerOptions:
    """Reads the command line.

    Raises:
        SystemExit: after the help.
        UsageError: for a flag or a folder that is wrong.
    """
    try:
        flags = _flags.main(list(arguments), PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        raise UsageError(f"{error.format_message()} (--help tells the flags)") from None
    if not isinstance(flags, dict):
        raise SystemExit(flags)
    log = None
    if flags["request_log_folder"]:
        prefix = Path(flags["request_log_folder"], flags["model_name"])
        log = LogConfig(str(prefix), flags["request_log_sampling_rate"], flags["request_log_max_bytes"])
        try:
            make_folder(log)
        except ServingError as error:
            raise UsageError(error.message) from None
    return ServerOptions(
        name=flags["model_name"],
        base_path=flags["model_base_path"],
        rest=RestSettings(flags["rest_api_timeout_in_ms"] / 1000, flags["rest_api_enable_cors_support"]),
        host=flags["host"],
        port=flags["port"],
        rest_port=flags["rest_api_port"],
        page=flags["page"],
        log=log,
    )


def _option(name: str, kind: Any, default: Any, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", name, type=kind, default=default, show_default=True, help=text)


def _switch(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", name, is_flag=False, flag_value=True, type=bool, default=False, help=text)


_PORT = click.IntRange(0, 65535)
_POSITIVE = click.IntRange(1)


@click.command(help=__doc__)
@click.option("--model_base_path", required=True, type=click.Path(exists=True, file_okay=False), help="its versions")
@_option("model_name", str, "default", "what clients call the model")
@_option("port", _PORT, 8500, "gRPC's port; 0 for none")
@_option("rest_api_port", _PORT, 0, "REST's port; 0 for none")
@_option("rest_api_timeout_in_ms", _POSITIVE, 30_000, "how long a REST request may take")
@_switch("rest_api_enable_cors_support", "CORS headers")
# These are not TF Serving's. It listens on every address: a laptop in a café should not.
@_option("host", str, "127.0.0.1", "the address to listen on")
@_switch("page", "a page for analysis files, at REST's root")
@_option("request_log_folder", str, "", "log the tracks served there, as tf.Examples")
@_option("request_log_sampling_rate", click.FloatRange(0, 1), 1.0, "the share of requests that is logged")
@_option("request_log_max_bytes", _POSITIVE, LogConfig.max_bytes, "of all logs together")
def _flags(**flags: Any) -> dict[str, Any]:
    return flags
