"""``make tag``: the pushed model's answers to every track of a catalogue, as Parquet and CSV."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.storage.places import is_remote
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import exit_code_of, run_checkout_process, words_for
from pipeline.console import Terminal, open_terminal, relative
from pipeline.pushed import pushed_version, pushing_settings
from pipeline.settings import Settings, load_settings, location

if TYPE_CHECKING:
    from serving.batch.run import Outcome

_FAULT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Tags a catalogue.

    Returns:
        0 if every track was tagged or rejected with its reason; 1 if it could not run; 130 if it was interrupted.
    """
    options = _parse(arguments)
    try:
        texts = {"data.path": options.data} | ({"name": options.name} if options.name else {})
        settings = pushing_settings(load_settings(options.settings, options.assignments, texts))
        version = pushed_version(settings.pushed, options.version)
        terminal = open_terminal(settings, options.verbose)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT
    try:
        _tag(settings, version, options.out, terminal)
    except KeyboardInterrupt as stop:
        terminal.error(f"{words_for(stop)} Run the same command to resume.")
        return exit_code_of(stop)
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        terminal.failure("", error)
        return _FAULT
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.batch", description=__doc__)
    parser.add_argument("--data", required=True, help="folder of analyses, searched recursively")
    parser.add_argument(
        "--out", required=True, type=location, help="folder for the answers; a call that was interrupted goes on there"
    )
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("--version", type=int, help="of the pushed model, instead of the newest")
    parser.add_argument("--verbose", action="store_true", help="show what Beam and TensorFlow log")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    return parser.parse_args(arguments)


def _tag(settings: Settings, version: str, out: str, terminal: Terminal) -> None:
    start = time.monotonic()
    # TensorFlow takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow")
    from serving.batch.folder import Job
    from serving.batch.model import identify
    from serving.batch.run import tag

    data = str(settings.data.path)
    # Two spellings of one folder are one catalogue.
    job = Job(data if is_remote(data) else os.path.realpath(data), identify(version))
    terminal.line(f"{job.model}, from {relative(version)}")
    outcome = tag(job, version, out, settings.beam.args, lambda text: terminal.moment(f"Tagging: {text}"))
    terminal.finished("Tagging", time.monotonic() - start, cached=not outcome.tagged)
    _show(outcome, out, terminal)


def _show(outcome: Outcome, out: str, terminal: Terminal) -> None:
    from serving.batch.folder import CSV_FILE, PARQUET_FILE, REJECTIONS_FILE

    summary = outcome.summary
    if outcome.tagged < summary.files:
        terminal.line(f"  {summary.files - outcome.tagged:,} of {summary.files:,} files had been tagged before")
    terminal.counts(summary.genres)
    terminal.line(f"{summary.tracks:,} tracks tagged, {summary.rejected:,} rejected")
    terminal.line(f"answers: {relative(out)}/{PARQUET_FILE}, {CSV_FILE}")
    if summary.rejected:
        terminal.line(f"tracks left out: {relative(out)}/{REJECTIONS_FILE}")


if __name__ == "__main__":
    run_checkout_process(main)
