"""``make run-local``: the pipeline on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from deepmusic_genre.errors import ComponentFailed
from deepmusic_genre.process import run_checkout_process
from pipeline.console import Terminal, relative
from pipeline.run.command_line import add_arguments, run_command
from pipeline.run.conclusion import conclude, conclude_stopped, stop_of
from pipeline.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.
    """
    return run_command(_parse(arguments), _run)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.run.local", description=__doc__)
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
    from pipeline.metadata.leftovers import only_run
    from pipeline.run.local_runner import LocalRunner
    from pipeline.run.outcome import read_outcome
    from pipeline.run.preparation import prepare

    with only_run(Path(settings.home)):
        pipeline = prepare(settings, terminal)
        try:
            outcome = read_outcome(LocalRunner(terminal).run(pipeline))
        except ComponentFailed as failure:
            terminal.failure(f"{failure.component}: ", failure.__cause__)
            return conclude_stopped(settings, stop_of(failure.__cause__, failure.component), terminal)
        return conclude(settings, outcome, terminal)


if __name__ == "__main__":
    run_checkout_process(main)
