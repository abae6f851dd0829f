"""``deepmusic run`` and ``deepmusic demo``: the pipeline on this machine."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from deepmusic_genre.cli import Given
from deepmusic_genre.errors import ComponentFailed, PipelineInputError
from pipeline.console import Terminal, relative
from pipeline.run.command_line import run_command
from pipeline.run.conclusion import conclude, conclude_stopped, stop_of
from pipeline.settings import Settings


def run(given: Given) -> int:
    """Runs the pipeline on a catalogue, or on the demo catalogue where nothing names one.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.
    """
    return run_command(given, _run)


def demo(given: Given) -> int:
    """Runs the pipeline on the demo catalogue; returns as :func:`run`."""
    return run_command(given, _run, _require_no_data)


def _require_no_data(settings: Settings) -> None:
    if settings.catalogue.path is not None:
        raise PipelineInputError(f"The settings name data, {settings.catalogue.path}: `deepmusic run` runs on them.")


def _run(settings: Settings, terminal: Terminal) -> int:
    synthetic = settings.catalogue.path is None
    origin = " (synthetic)" if synthetic else ""
    source = "demo catalogue" if synthetic else relative(settings.catalogue.path)
    terminal.line(f"{settings.name}: {source}{origin}, TFX {version('tfx')}")

    # TFX takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow Extended")
    from components.storage.staging import Copies
    from pipeline.metadata.leftovers import only_run
    from pipeline.run.local_runner import LocalRunner
    from pipeline.run.machine import keep_to_cores, side_by_side
    from pipeline.run.outcome import read_outcome
    from pipeline.run.preparation import prepare

    keep_to_cores(settings)
    with only_run(Path(settings.home)):
        pipeline = prepare(settings, terminal)
        runner = LocalRunner(terminal, Copies(settings.copies), side_by_side(settings))
        try:
            outcome = read_outcome(runner.run(pipeline))
        except ComponentFailed as failure:
            terminal.failure(f"{failure.component}: ", failure.__cause__)
            return conclude_stopped(settings, stop_of(failure.__cause__, failure.component), terminal)
        return conclude(settings, outcome, terminal)
