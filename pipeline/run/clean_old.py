"""``make clean-old``: what the policy in ``keep`` does not keep is removed, without a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.process import run_checkout_process
from pipeline.console import Terminal, open_terminal
from pipeline.settings import Settings, load_settings, of_demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Cleans.

    Returns:
        0 if everything old is gone, 1 if it could not be removed or nothing says what is old.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.run.clean_old", description=__doc__)
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.settings, options.assignments, {"name": options.name} if options.name else {})
        if settings.keep.keeps_everything:
            raise PipelineInputError("keep.runs and keep.versions are null, so everything is kept: set one of them.")
        settings = _settings_of_runs(settings)
        return _clean(settings, open_terminal(settings, verbose=False))
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return FAULT


def _settings_of_runs(settings: Settings) -> Settings:
    """The settings under whose name there were runs: the ones given, or those of the demo catalogue's runs."""
    candidates = [settings, of_demo(settings)]
    for candidate in candidates:
        if Path(candidate.home, "metadata.sqlite").is_file():
            return candidate
    raise PipelineInputError(f"There are no runs in {' or '.join(candidate.home for candidate in candidates)}.")


def _clean(settings: Settings, terminal: Terminal) -> int:
    terminal.moment("Looking for what is old")
    try:
        from pipeline.metadata.cleaning import clean
        from pipeline.metadata.leftovers import only_run

        with only_run(Path(settings.home)):
            cleaned = clean(settings)
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        terminal.failure("", error)
        return FAULT
    terminal.line(f"{settings.name}: {cleaned}")
    return OK


if __name__ == "__main__":
    run_checkout_process(main)
