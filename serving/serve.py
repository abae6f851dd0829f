"""``deepmusic serve``: TF Serving with the pushed model where there is Docker, else the development server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deepmusic_genre.cli import Given
from deepmusic_genre.exit_codes import OK
from pipeline.pushed import pushed_models
from pipeline.run.command_line import named_settings

MODEL_NAME = "deepmusic"
_DEPLOY = Path(__file__).parent / "deploy"


@dataclass(frozen=True)
class Command:
    """What to run, and what to add to its environment."""

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def serve(given: Given, port: int, rest_port: int, log: str | None, log_rate: float) -> int:
    """Becomes the server.

    Args:
        given: Names the pipeline.
        port: For gRPC, of the development server.
        rest_port: For REST and the page, of the development server.
        log: Folder to log served tracks to, as tf.Examples; None logs none.
        log_rate: Share of the requests that is logged, 0..1.

    Raises:
        PipelineInputError: There is nothing to serve.
    """
    models = pushed_models(named_settings(given))
    if log:
        # TF Serving's image comes with nothing that would keep what it logs.
        logging = {"request_log_folder": Path(log).absolute(), "request_log_sampling_rate": log_rate}
        command = development_command(models, port, rest_port, logging)
    elif docker_runs():
        command = docker_command(models)
    else:
        command = development_command(models, port, rest_port)
    sys.stdout.flush()
    # A folder of the same name as a package, where the command was called, would be taken for it.
    os.chdir(_DEPLOY.parents[1])
    os.execvpe(command.arguments[0], command.arguments, {**os.environ, **command.environment})  # noqa: S606 - no shell
    return OK  # Not reached, which the linter does not know.


def docker_runs() -> bool:
    """Whether there is Docker with Compose, and its daemon answers."""
    if shutil.which("docker") is None:
        return False
    probes = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(probe, capture_output=True, check=False).returncode == 0 for probe in probes)  # noqa: S603 - ours


def docker_command(models: Path) -> Command:
    """TF Serving's image, on its own ports."""
    compose = ["docker", "compose", "--file", str(_DEPLOY / "compose.yaml"), "up"]
    return Command(compose, {"MODELS": str(models.absolute())})


def development_command(models: Path, port: int, rest_port: int, more: Mapping[str, object] | None = None) -> Command:
    """The development server, with TF Serving's flags, the page, and perhaps more."""
    flags = {
        "model_name": MODEL_NAME,
        "model_base_path": models,
        "port": port,
        "rest_api_port": rest_port,
        "page": "true",
        **(more or {}),
    }
    return Command([sys.executable, "-m", "serving.server", *(f"--{name}={value}" for name, value in flags.items())])
