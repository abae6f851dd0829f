"""The command line: TF Serving's flags, and the files they name."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.page import PageApplication
from serving.server.batching import BatchSettings
from serving.server.batching_parameters import read_batching_parameters
from serving.server.manager import ManagerSettings, ModelConfig
from serving.server.metrics import DEFAULT_PATH
from serving.server.rest import RestSettings
from serving.server.servable import SessionThreads
from serving.server.versions import ALL_VERSIONS, VersionPolicy

PROGRAM = "deepmusic-serving"
_USAGE_ERROR = 2
_LARGEST_PORT = 65535
_COMMENT = re.compile(r"#[^\n]*")
_MONITORING = re.compile(r"\s*(?:prometheus_config\s*:?\s*\{([^{}]*)\}\s*)?")
_MONITORING_FIELD = re.compile(r'\s*(?:enable\s*:\s*(true|false)|path\s*:\s*"(/[^"\s]*)")\s*[,;]?')


@dataclass(frozen=True)
class ServerOptions:
    """What to serve, and where.

    Attributes:
        models: at least one, of different names.
        manager: how they are loaded.
        rest: how the REST interface behaves.
        host: the address to listen on.
        port: gRPC's; 0 for none.
        rest_port: REST's; 0 for none.
        socket_path: a UNIX socket for gRPC, or an empty text.
    """

    models: Sequence[ModelConfig]
    manager: ManagerSettings = field(default_factory=ManagerSettings)
    rest: RestSettings = field(default_factory=RestSettings)
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 0
    socket_path: str = ""


class UsageError(Exception):
    """A mistake in the flags or the files they name, in a line."""


def parse_flags(arguments: Sequence[str]) -> ServerOptions:
    """Reads the command line.

    Raises:
        SystemExit: after a line on what is wrong with a flag, or after the help.
        UsageError: for a file or folder that is wrong or not there.
    """
    flags = _parser().parse_args(arguments)
    models = _models(flags)
    for model in models:
        if not Path(model.base_path).is_dir():
            raise UsageError(f"no such folder: {model.base_path} (the base path of {model.name})")
    return ServerOptions(
        models=models,
        manager=ManagerSettings(
            poll_wait_s=flags.file_system_poll_wait_seconds,
            max_load_retries=flags.max_num_load_retries,
            load_retry_interval_s=flags.load_retry_interval_micros / 1e6,
            threads=SessionThreads(flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism),
            batching=_batching(flags.enable_batching, flags.batching_parameters_file),
        ),
        rest=RestSettings(
            timeout_s=flags.rest_api_timeout_in_ms / 1000,
            cors=flags.rest_api_enable_cors_support,
            metrics_path=_metrics_path(flags.monitoring_config_file),
            page=partial(PageApplication, timeout_s=flags.rest_api_timeout_in_ms / 1000) if flags.page else None,
        ),
        host=flags.host,
        port=flags.port,
        rest_port=flags.rest_api_port,
        socket_path=flags.grpc_socket_path,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A line, without the usage before it."""
        sys.stderr.write(f"{PROGRAM}: {message} (--help tells the flags)\n")
        raise SystemExit(_USAGE_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(PROGRAM, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--port", type=_port, default=8500, help="gRPC's port; 0 for none (8500)")
    add("--grpc_socket_path", default="", help="a UNIX socket for gRPC as well")
    add("--rest_api_port", type=_port, default=0, help="REST's port; 0 for none (0)")
    add("--rest_api_timeout_in_ms", type=_positive, default=30000, help="how long a REST request may take (30000)")
    add("--rest_api_enable_cors_support", type=_boolean, nargs="?", const=True, default=False, help="CORS headers")
    add("--model_name", default="default", help="what clients call the model (default)")
    add("--model_base_path", default="", help="the folder of the model's versions")
    add("--model_config_file", default="", help="a ModelServerConfig in protobuf's text form, instead of the two")
    add("--file_system_poll_wait_seconds", type=_natural, default=1, help="between looks for versions; 0: once (1)")
    add("--max_num_load_retries", type=_natural, default=5, help="of a version that does not load (5)")
    add("--load_retry_interval_micros", type=_natural, default=60_000_000, help="between two retries (60000000)")
    add("--monitoring_config_file", default="", help="a MonitoringConfig in protobuf's text form")
    add("--tensorflow_intra_op_parallelism", type=_positive, default=1, help="threads in one operation (1)")
    add("--tensorflow_inter_op_parallelism", type=_positive, default=1, help="operations side by side (1)")
    add(
        "--enable_batching",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        help="run requests together that arrive while the model is busy (true; TF Serving has false)",
    )
    add(
        "--batching_parameters_file",
        default="",
        help="a BatchingParameters in protobuf's text form: max_batch_size (8), max_enqueued_batches, "
        "num_batch_threads (2). The others change nothing: no request waits for company, and any size is run",
    )
    # These are not TF Serving's. It listens on every address: a laptop in a café should not.
    add("--page", type=_boolean, nargs="?", const=True, default=False, help="a page for analysis files, at REST's root")
    add("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1; TF Serving has 0.0.0.0)")
    return parser


def _models(flags: argparse.Namespace) -> Sequence[ModelConfig]:
    if bool(flags.model_base_path) == bool(flags.model_config_file):
        raise UsageError("give either --model_base_path or --model_config_file")
    if flags.model_base_path:
        return [ModelConfig(flags.model_name, flags.model_base_path)]
    text = _text(flags.model_config_file)
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise UsageError(f"{flags.model_config_file} is not a ModelServerConfig: {error}") from None
    models = [_model(one) for one in config.model_config_list.config]
    if not models:
        raise UsageError(f"{flags.model_config_file} has no model in model_config_list")
    if len({model.name for model in models}) < len(models):
        raise UsageError(f"{flags.model_config_file} has two models of one name")
    return models


def _model(config: Any) -> ModelConfig:
    if not config.name or not config.base_path:
        raise UsageError("a model in the ModelServerConfig has no name or no base_path")
    return ModelConfig(config.name, config.base_path, _policy(config.model_version_policy), dict(config.version_labels))


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return ALL_VERSIONS
    if choice == "specific":
        return VersionPolicy(specific=frozenset(policy.specific.versions))
    return VersionPolicy(policy.latest.num_versions or 1)


def _batching(enabled: bool, file: str) -> BatchSettings:
    if not enabled and file:
        raise UsageError("--batching_parameters_file is set without --enable_batching")
    if not enabled:
        return BatchSettings(max_rows=1)
    try:
        return read_batching_parameters(_text(file)) if file else BatchSettings()
    except ValueError as error:
        raise UsageError(f"{file} is not a BatchingParameters: {error}") from None


def _metrics_path(file: str) -> str | None:
    if not file:
        return None
    match = _MONITORING.fullmatch(_COMMENT.sub("", _text(file)))
    fields = match[1] or "" if match else "?"
    enabled, path, at = False, DEFAULT_PATH, 0
    while at < len(fields.rstrip()):
        found = _MONITORING_FIELD.match(fields, at)
        if not found:
            raise UsageError(f"{file} is not a MonitoringConfig")
        enabled = found[1] == "true" if found[1] else enabled
        path = found[2] or path
        at = found.end()
    return path if enabled else None


def _text(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"could not read {file}: {getattr(error, 'strerror', None) or error}") from None


def _port(text: str) -> int:
    port = _natural(text)
    if port > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return port


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a natural number or 0")
    return int(text)


def _positive(text: str) -> int:
    number = _natural(text)
    if not number:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
