"""TF Serving's ModelServerConfig: from a file or a client, at the start or while models are served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import ServingError, invalid
from serving.server.manager import ModelConfig
from serving.server.request_log import LogConfig
from serving.server.versions import ALL_VERSIONS, VersionPolicy

LOG_COLLECTOR = "tf_example"
"""The only type of a LogCollectorConfig here. TF Serving leaves types to whoever builds it, and comes with none."""

_LOG = logging.getLogger(__name__)


def read_model_config(file: str) -> Sequence[ModelConfig]:
    """The models in a file.

    Raises:
        ServingError: with a line on what is wrong with it.
    """
    try:
        text = Path(file).read_text("utf-8")
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"could not read {file}: {getattr(error, 'strerror', None) or error}") from None
    except text_format.ParseError as error:
        raise invalid(f"{file} is not a ModelServerConfig: {error}") from None
    try:
        return model_configs(config)
    except ServingError as error:
        raise ServingError(error.code, f"{file}: {error.message}") from None


def model_configs(config: Any) -> Sequence[ModelConfig]:
    """The models in a ModelServerConfig.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` for what cannot be served.
    """
    models = [_model(one) for one in config.model_config_list.config]
    if not models:
        raise invalid("no model in model_config_list")
    if len({model.name for model in models}) < len(models):
        raise invalid("two models of one name")
    return models


class ModelConfigFile:
    """A file that is looked at again and again."""

    def __init__(
        self, file: str, models: Sequence[ModelConfig], apply: Callable[[Sequence[ModelConfig]], None]
    ) -> None:
        """Starts from what the file held when the server started.

        Args:
            file: a ModelServerConfig in protobuf's text form.
            models: what is served.
            apply: is told of other models; raises ServingError if they cannot be served.
        """
        self._file = file
        self._models = models
        self._apply = apply
        self._fault = ""

    def look(self) -> None:
        """Has the models served that the file holds now; what is wrong with it is logged once, and tried again."""
        try:
            models = read_model_config(self._file)
            if models != self._models:
                self._apply(models)
                self._models = models
                _LOG.info("serving what %s holds now: %s", self._file, ", ".join(model.name for model in models))
            self._fault = ""
        except ServingError as error:
            if error.message != self._fault:
                _LOG.warning("%s; the models stay as they are", error.message)
            self._fault = error.message


def _model(config: Any) -> ModelConfig:
    if not config.name or not config.base_path:
        raise invalid("a model in the ModelServerConfig has no name or no base_path")
    policy, labels = _policy(config.model_version_policy), dict(config.version_labels)
    log = _log(config.name, config.logging_config) if config.HasField("logging_config") else None
    return ModelConfig(config.name, config.base_path, policy, labels, log)


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return ALL_VERSIONS
    if choice == "specific":
        return VersionPolicy(specific=frozenset(policy.specific.versions))
    return VersionPolicy(policy.latest.num_versions or 1)


def _log(model: str, config: Any) -> LogConfig | None:
    collector, rate = config.log_collector_config, config.sampling_config.sampling_rate
    if collector.type != LOG_COLLECTOR:
        raise invalid(f"the type in the log_collector_config of {model} is {collector.type!r}, not {LOG_COLLECTOR!r}")
    if not collector.filename_prefix:
        raise invalid(f"the log_collector_config of {model} has no filename_prefix")
    if not 0 <= rate <= 1:
        raise invalid(f"the sampling_rate of {model} is {rate:g}, not within 0 and 1")
    return LogConfig(collector.filename_prefix, rate) if rate else None
