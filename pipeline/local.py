"""``make run-local``: the pipeline on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from components.errors import PipelineInputError
from demo.catalogue import generate_catalogue
from pipeline.console import Terminal
from pipeline.settings import Settings, load_settings

log = logging.getLogger(__name__)

_FAULT = 1
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline.

    Returns:
        0 if it ran, whether or not the model was good enough to be pushed; 1 if it stopped; 130 if it was interrupted.
    """
    options = _parse(arguments)
    try:
        settings = _settings(options)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT
    terminal = Terminal(settings.home / "logs", options.verbose)
    try:
        return _run(settings, terminal)
    except PipelineInputError as error:
        terminal.error(str(error))
        return _FAULT
    except KeyboardInterrupt:
        terminal.error("Interrupted. The next run goes on from the last finished component.")
        return _INTERRUPTED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.local", description=__doc__)
    parser.add_argument("--settings", type=Path, help="YAML file with what differs from pipeline/defaults.yaml")
    parser.add_argument("--data", type=Path, help="folder of analyses; without it, a synthetic demo catalogue")
    parser.add_argument("--labels", type=Path, help="CSV with track_id,genre")
    parser.add_argument("--name", help="name of the pipeline")
    parser.add_argument("--verbose", action="store_true", help="show what TFX, Beam and TensorFlow log")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    given = {"data.path": options.data, "data.labels": options.labels, "name": options.name}
    texts = {key: str(value) for key, value in given.items() if value is not None}
    settings = load_settings(options.settings, options.assignments, texts)
    # The demo's models and metadata stay apart: no model of a real catalogue is ever compared with a synthetic one.
    demo = settings.data.path is None
    return settings.model_copy(update={"name": f"{settings.name}-demo"}) if demo else settings


def _run(settings: Settings, terminal: Terminal) -> int:
    synthetic = settings.data.path is None
    if synthetic:
        settings = _with_demo_catalogue(settings, terminal)
    origin = " (synthetic)" if synthetic else ""
    terminal.line(f"{settings.name}: {_relative(settings.data.path)}{origin}, TFX {version('tfx')}")

    # TFX takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow Extended")
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from pipeline.create_pipeline import create_pipeline
    from pipeline.local_runner import ComponentFailed, LocalRunner
    from pipeline.outcome import read_outcome

    home = settings.home
    pipeline = create_pipeline(
        settings,
        pipeline_root=str(home / "artifacts"),
        push_folder=str(home / "pushed"),
        metadata_connection_config=sqlite_metadata_connection_config(str(home / "metadata.sqlite")),
    )
    try:
        outcome = read_outcome(LocalRunner(terminal).run(pipeline), settings.genres)
    except ComponentFailed as failure:
        return _report_failure(failure.component, failure.__cause__, terminal)
    terminal.evaluation(outcome.evaluation, f"{settings.training.model} on the test split{origin}")
    terminal.line(f"Pushed to {_relative(outcome.pushed)}" if outcome.pushed else f"Not pushed: {outcome.reasons}")
    for name, place in {**outcome.places, "log": terminal.log_file}.items():
        terminal.line(f"{name}: {_relative(place)}")
    return _FAULT if outcome.faults else 0


def _with_demo_catalogue(settings: Settings, terminal: Terminal) -> Settings:
    folder = settings.output / "demo-catalogue"
    if not folder.exists():
        terminal.line(f"Making a synthetic demo catalogue in {_relative(folder)}")
    generate_catalogue(
        folder,
        progress=lambda done, tracks: terminal.moment(f"Demo catalogue: {done} of {tracks} tracks"),
    )
    data = settings.data.model_copy(update={"path": folder / "tracks", "labels": folder / "labels.csv"})
    return settings.model_copy(update={"data": data})


def _report_failure(component: str, cause: BaseException | None, terminal: Terminal) -> int:
    if isinstance(cause, PipelineInputError):
        terminal.error(f"{component}: {cause}")
    else:
        log.error("%s failed", component, exc_info=cause)
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0] if cause else "its input is not there"
        terminal.error(f"{component} failed: {reason}\nThe details are in {_relative(terminal.log_file)}")
    return _FAULT


def _relative(path: Path | None) -> str:
    return os.path.relpath(path) if path and path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
