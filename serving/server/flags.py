"""The command line: TF Serving's flags, and the files they name."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from serving.page import PageApplication
from serving.server.batching import BatchSettings
from serving.server.batching_parameters import read_batching_parameters
from serving.server.errors import ServingError
from serving.server.manager import ManagerSettings, ModelConfig
from serving.server.metrics import DEFAULT_PATH
from serving.server.model_config import read_model_config
from serving.server.request_log import LogConfig, LogLimits, make_folder
from serving.server.rest import RestSettings
from serving.server.servable import SessionThreads

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
        config_file: where the models come from, or an empty text.
        config_poll_wait_s: seconds between two looks at it; 0 looks never again.
        log_limits: how much of a model's requests is kept, if they are logged.
    """

    models: Sequence[ModelConfig]
    manager: ManagerSettings = field(default_factory=ManagerSettings)
    rest: RestSettings = field(default_factory=RestSettings)
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 0
    socket_path: str = ""
    config_file: str = ""
    config_poll_wait_s: float = 0
    log_limits: LogLimits = field(default_factory=LogLimits)


class UsageError(Exception):
    """A mistake in the flags or the files they name, in a line."""


def parse_flags(arguments: Sequence[str]) -> ServerOptions:
    """Reads the command line.

    Raises:
        SystemExit: after a line on what is wrong with a flag, or after the help.
        UsageError: for a file or folder that is wrong or not there.
    """
    flags = _parser().parse_args(arguments)
    try:
        models = _models(flags)
        for model in models:
            if model.log:
                make_folder(model.log)
    except ServingError as error:
        raise UsageError(error.message) from None
    for model in models:
        if not Path(model.base_path).is_dir():
            raise UsageError(f"no such folder: {model.base_path} (the base path of {model.name})")
    return ServerOptions(
        models=models,
        manager=ManagerSettings(
            poll_wait_s=flags.file_system_poll_wait_seconds,
            max_load_retries=flags.max_num_load_retries,
            load_retry_interval_s=flags.load_retry_interval_micros / 1e6,
            labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
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
        config_file=flags.model_config_file,
        config_poll_wait_s=flags.model_config_file_poll_wait_seconds,
        log_limits=LogLimits(max_bytes=flags.request_log_max_bytes),
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
    add("--model_config_file_poll_wait_seconds", type=_natural, default=0, help="between looks at it; 0: never (0)")
    labels = "--allow_version_labels_for_unavailable_models"
    add(labels, type=_boolean, nargs="?", const=True, default=False, help="new labels for versions yet to be loaded")
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
    add("--request_log_folder", default="", help="log the tracks served at --model_base_path there, as tf.Examples")
    add("--request_log_sampling_rate", type=_share, default=1, help="the share of requests that is logged (1)")
    add("--request_log_max_bytes", type=_positive, default=LogLimits.max_bytes, help="of a model's logs (256 MiB)")
    return parser


def _models(flags: argparse.Namespace) -> Sequence[ModelConfig]:
    if bool(flags.model_base_path) == bool(flags.model_config_file):
        raise UsageError("give either --model_base_path or --model_config_file")
    if flags.model_base_path:
        folder = flags.request_log_folder
        log = LogConfig(str(Path(folder) / flags.model_name), flags.request_log_sampling_rate) if folder else None
        return [ModelConfig(flags.model_name, flags.model_base_path, log=log)]
    if flags.request_log_folder:
        raise UsageError("a model of --model_config_file is logged by its logging_config, not by --request_log_folder")
    models = read_model_config(flags.model_config_file)
    labelled = next((model.name for model in models if model.labels), None)
    if labelled and not flags.allow_version_labels_for_unavailable_models:
        raise UsageError(
            f"the labels of {labelled} name versions that are yet to be loaded: give "
            "--allow_version_labels_for_unavailable_models"
        )
    return models


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


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share


def _positive(text: str) -> int:
    number = _natural(text)
    if not number:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
