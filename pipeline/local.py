"""``make run-local``: the pipeline on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from components.errors import ComponentFailed, PipelineInputError
from pipeline.command_line import add_arguments, settings_of
from pipeline.console import Terminal, open_terminal, relative
from pipeline.settings import Settings

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
        settings = settings_of(options)
        terminal = open_terminal(settings, options.verbose)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT
    try:
        return _run(settings, terminal)
    except KeyboardInterrupt:
        terminal.error("Interrupted. The next run goes on from the last finished component.")
        return _INTERRUPTED
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        terminal.failure("", error)
        return _FAULT


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.local", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show what TFX, Beam and TensorFlow log")
    add_arguments(parser)
    return parser.parse_args(arguments)


def _run(settings: Settings, terminal: Terminal) -> int:
    synthetic = settings.catalogue.path is None
    origin = " (synthetic)" if synthetic else ""
    source = "demo catalogue" if synthetic else relative(settings.catalogue.path)
    terminal.line(f"{settings.name}: {source}{origin}, TFX {version('tfx')}")

    # TFX takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow Extended")
    from pipeline.leftovers import only_run
    from pipeline.local_runner import LocalRunner
    from pipeline.outcome import read_outcome
    from pipeline.preparation import prepare

    home = Path(settings.home)
    with only_run(home):
        pipeline = prepare(settings, terminal)
        try:
            outcome = read_outcome(LocalRunner(terminal).run(pipeline))
        except ComponentFailed as failure:
            terminal.failure(f"{failure.component}: ", failure.__cause__)
            return _FAULT
    if len(outcome.predictions) > 1:
        terminal.comparison(outcome.predictions, f"models on the test split{origin}")
    best = outcome.selection.selected
    terminal.scores(outcome.predictions[best], f"{best} on the test split{origin}")
    if outcome.pushed:
        terminal.line(f"Pushed to {relative(outcome.pushed)}")
    else:
        terminal.line("Not pushed:" + "".join(f"\n  {reason}" for reason in outcome.reasons))
    if outcome.tuned:
        terminal.line(f"tuned hyper-parameters, for SETTINGS=: {relative(_write_tuned(home, outcome.tuned))}")
    for name, place in {**outcome.places, "log": str(terminal.log_file)}.items():
        terminal.line(f"{name}: {relative(place)}")
    return _FAULT if outcome.faults else 0


def _write_tuned(home: Path, tuned: dict[str, dict[str, Any]]) -> Path:
    path = home / "tuned.yaml"
    path.write_text(yaml.safe_dump({"models": tuned}), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
