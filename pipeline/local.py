"""``make run-local``: the pipeline on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

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
        0 if it ran to the end and the model can be served, whether or not it was good enough to be pushed; 1 if it
        stopped, or the model cannot be served; 130 if it was interrupted.
    """
    options = _parse(arguments)
    try:
        settings = _settings(options)
        terminal = _terminal(settings, options.verbose)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT
    try:
        return _run(settings, terminal)
    except KeyboardInterrupt:
        terminal.error("Interrupted. The next run goes on from the last finished component.")
        return _INTERRUPTED
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        return _report_failure("", error, terminal)


def _terminal(settings: Settings, verbose: bool) -> Terminal:
    try:
        return Terminal(Path(settings.home) / "logs", verbose)
    except OSError as error:
        raise PipelineInputError(f"Nothing can be written to output = {settings.output}: {error.strerror}.") from error


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
    # The demo's models and metadata stay apart from those of a catalogue of one's own.
    demo = settings.data.path is None
    return settings.model_copy(update={"name": f"{settings.name}-demo"}) if demo else settings


def _run(settings: Settings, terminal: Terminal) -> int:
    synthetic = settings.data.path is None
    origin = " (synthetic)" if synthetic else ""
    source = "demo catalogue" if synthetic else _relative(settings.data.path)
    terminal.line(f"{settings.name}: {source}{origin}, TFX {version('tfx')}")

    # TFX takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow Extended")
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from pipeline.create_pipeline import create_pipeline
    from pipeline.leftovers import only_run, remove_leftovers
    from pipeline.local_runner import ComponentFailed, LocalRunner
    from pipeline.outcome import read_outcome

    home = Path(settings.home)
    connection = sqlite_metadata_connection_config(str(home / "metadata.sqlite"))
    with only_run(home):
        if synthetic:
            settings = _with_demo_catalogue(settings, terminal)
        remove_leftovers(home, connection)
        folders = str(home / "artifacts"), str(home / "pushed")
        pipeline = create_pipeline(settings, *folders, connection, synthetic=synthetic)
        try:
            outcome = read_outcome(LocalRunner(terminal).run(pipeline))
        except ComponentFailed as failure:
            return _report_failure(f"{failure.component}: ", failure.__cause__, terminal)
    if len(outcome.predictions) > 1:
        terminal.comparison(outcome.predictions, f"models on the test split{origin}")
    best = outcome.selection.selected
    terminal.scores(outcome.predictions[best], f"{best} on the test split{origin}")
    if outcome.pushed:
        terminal.line(f"Pushed to {_relative(outcome.pushed)}")
    else:
        terminal.line("Not pushed:" + "".join(f"\n  {reason}" for reason in outcome.reasons))
    if outcome.tuned:
        terminal.line(f"tuned hyper-parameters, for SETTINGS=: {_relative(_write_tuned(home, outcome.tuned))}")
    for name, place in {**outcome.places, "log": str(terminal.log_file)}.items():
        terminal.line(f"{name}: {_relative(place)}")
    return _FAULT if outcome.faults else 0


def _with_demo_catalogue(settings: Settings, terminal: Terminal) -> Settings:
    folder = Path(settings.home) / "catalogue"
    if not folder.exists():
        terminal.line(f"  making it in {_relative(folder)}")
    generate_catalogue(
        folder, progress=lambda done, tracks: terminal.moment(f"Demo catalogue: {done} of {tracks} tracks")
    )
    files = {"path": str(folder / "tracks"), "labels": str(folder / "labels.csv")}
    return settings.model_copy(update={"data": settings.data.model_copy(update=files)})


def _write_tuned(home: Path, tuned: dict[str, dict[str, Any]]) -> Path:
    path = home / "tuned.yaml"
    path.write_text(yaml.safe_dump({"models": tuned}), encoding="utf-8")
    return path


def _report_failure(place: str, cause: BaseException | None, terminal: Terminal) -> int:
    if isinstance(cause, PipelineInputError):
        terminal.error(f"{place}{cause}")
    else:
        log.error("%sfailed", place, exc_info=cause)
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0] if cause else "its input is not there"
        terminal.error(f"{place}failed, {reason}")
    terminal.line(f"log: {_relative(terminal.log_file)}")
    return _FAULT


def _relative(path: Path | str | None) -> str:
    text = str(path)
    return os.path.relpath(text) if text.startswith(f"{Path.cwd()}{os.sep}") else text


if __name__ == "__main__":
    sys.exit(main())
