"""``make serve``: TF Serving with the pushed model where there is Docker, else the stand-in for it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepmusic_genre.errors import PipelineInputError
from pipeline.pushed import pushed_models
from pipeline.settings import load_settings

MODEL_NAME = "deepmusic"
_DEPLOY = Path(__file__).parent / "deploy"


@dataclass(frozen=True)
class Command:
    """What to run, and what to add to its environment."""

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Becomes the server; 1 if there is nothing to serve."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("--port", type=int, default=8500, help="the stand-in's for gRPC")
    parser.add_argument("--rest-api-port", type=int, default=8501, help="the stand-in's for REST")
    parser.add_argument("--log", metavar="FOLDER", help="log the tracks served as tf.Examples; by the stand-in alone")
    parser.add_argument("--log-rate", type=float, default=1, help="the share of requests that is logged")
    options = parser.parse_args(arguments)
    try:
        texts = {"name": options.name} if options.name else {}
        models = pushed_models(load_settings(options.settings, texts=texts))
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return 1
    if options.log:
        # TF Serving's image comes with nothing that would keep what it logs.
        logging = {"request_log_folder": options.log, "request_log_sampling_rate": options.log_rate}
        command = stand_in_command(models, options.port, options.rest_api_port, logging)
    elif docker_runs():
        command = docker_command(models)
    else:
        command = stand_in_command(models, options.port, options.rest_api_port)
    sys.stdout.flush()
    os.execvpe(command.arguments[0], command.arguments, {**os.environ, **command.environment})  # noqa: S606 - no shell
    return 0  # Not reached, which the linter does not know.


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


def stand_in_command(models: Path, port: int, rest_port: int, more: Mapping[str, object] | None = None) -> Command:
    """The stand-in, with TF Serving's flags, the page, and perhaps more."""
    flags = {
        "model_name": MODEL_NAME,
        "model_base_path": models,
        "port": port,
        "rest_api_port": rest_port,
        "page": "true",
        **(more or {}),
    }
    return Command([sys.executable, "-m", "serving.server", *(f"--{name}={value}" for name, value in flags.items())])


if __name__ == "__main__":
    sys.exit(main())
