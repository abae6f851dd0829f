"""What every runner's command line has in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import FAULT
from deepmusic_genre.process import exit_code_of, words_for
from pipeline.console import Terminal, open_terminal
from pipeline.run.conclusion import conclude_stopped, stop_of
from pipeline.settings import Settings, load_settings, location, of_demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which data are read, and how."""
    parser.add_argument("--settings", type=Path, help="YAML file with what differs from pipeline/defaults.yaml")
    parser.add_argument("--data", type=location, help="folder of analyses, or a dump; none: a synthetic demo catalogue")
    parser.add_argument("--labels", type=location, help="CSV with track_id,genre, or tagtraum's .cls")
    parser.add_argument("--name", help="name of the pipeline")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that a command line asks for; without data, those of a run on the demo catalogue.

    Raises:
        PipelineInputError: see :func:`pipeline.settings.load_settings`.
    """
    given = {"data.path": options.data, "data.labels": options.labels, "name": options.name}
    texts = {key: str(value) for key, value in given.items() if value is not None}
    settings = load_settings(options.settings, options.assignments, texts)
    return of_demo(settings) if settings.catalogue.path is None else settings


def run_command(
    options: argparse.Namespace,
    run: Callable[[Settings, Terminal], int],
    require: Callable[[Settings], None] = lambda _: None,
) -> int:
    """Runs the pipeline as a command line asks for it, and tells how it ended if it did not come to its end.

    Args:
        options: with what :func:`add_arguments` adds, and ``verbose``.
        run: answers with the exit code.
        require: raises PipelineInputError for settings that cannot be run.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.
    """
    try:
        settings = settings_of(options)
        require(settings)
        terminal = open_terminal(settings, options.verbose)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return FAULT
    try:
        return run(settings, terminal)
    except KeyboardInterrupt as stop:
        terminal.error(f"{words_for(stop)} Run the same command to resume after the last finished component.")
        return exit_code_of(stop)
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        terminal.failure("", error)
        return conclude_stopped(settings, stop_of(error), terminal)
