"""``deepmusic tag``: the pushed model's answers to every track of a catalogue, as files."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.storage.places import is_remote
from deepmusic_genre.cli import Given
from deepmusic_genre.exit_codes import FAULT, OK
from pipeline.console import Terminal, open_terminal, relative
from pipeline.pushed import pushed_version, pushing_settings
from pipeline.run.command_line import named_settings, run_to_end
from pipeline.settings import Settings, location

if TYPE_CHECKING:
    from serving.batch.run import Outcome


def tag_catalogue(given: Given, out: str, version: int | None, formats: Sequence[str]) -> int:
    """Tags a catalogue.

    Args:
        given: Names the pipeline and the catalogue.
        out: Folder for the answers.
        version: Of the pushed model, None for the live one.
        formats: What is written beside Parquet and CSV, of :data:`deepmusic_genre.client.defaults.FURTHER_FORMATS`.

    Returns:
        0 if tracks were tagged; 1 if none was, or it could not run; 130 or 143 if it was stopped.

    Raises:
        PipelineInputError: There is no such model, or nothing can be written to its pipeline's folder.
    """
    settings = pushing_settings(named_settings(given, "spotify.enabled=false"))
    folder = pushed_version(settings.pushed, version)
    terminal = open_terminal(settings, given.verbose)
    return run_to_end(terminal, lambda: _tag(settings, folder, location(out), terminal, formats))


def _tag(settings: Settings, version: str, out: str, terminal: Terminal, formats: Sequence[str]) -> int:
    start = time.monotonic()
    # TensorFlow takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow")
    from components.storage.staging import at_hand
    from serving.batch.folder import Job
    from serving.batch.model import identify
    from serving.batch.run import tag

    data = str(settings.data.path)
    # Two spellings of one folder are one catalogue.
    job = Job(data if is_remote(data) else os.path.realpath(data), identify(version), settings.analyser.middle)
    terminal.line(f"{job.model}, from {relative(version)}")
    with at_hand(version, settings.home) as model:
        outcome = tag(job, model, out, settings.beam.args, lambda text: terminal.moment(f"Tagging: {text}"), formats)
    terminal.finished("Tagging", time.monotonic() - start, cached=not outcome.tagged)
    _show(outcome, out, terminal, formats)
    return OK if outcome.summary.tracks else FAULT


def _show(outcome: Outcome, out: str, terminal: Terminal, formats: Sequence[str]) -> None:
    from serving.batch.folder import CSV_FILE, JSON_FILE, PARQUET_FILE, REJECTIONS_FILE

    summary = outcome.summary
    if outcome.tagged < summary.files:
        terminal.line(f"  {summary.files - outcome.tagged:,} of {summary.files:,} files had been tagged before")
    terminal.counts(summary.genres)
    terminal.line(f"{summary.tracks:,} tracks tagged, {summary.rejected:,} rejected")
    if summary.others:
        terminal.line(f"  {summary.others}")
    further = {"jsonl": JSON_FILE, "m3u8": "a playlist a genre"}
    files = [PARQUET_FILE, CSV_FILE, *(further[form] for form in formats)]
    terminal.line(f"answers: {relative(out)}/{', '.join(files)}")
    if summary.rejected:
        terminal.line(f"tracks left out: {relative(out)}/{REJECTIONS_FILE}")
