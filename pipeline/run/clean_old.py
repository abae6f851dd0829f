"""``deepmusic clean``: what the policy in ``keep`` does not keep is removed, without a run."""

from __future__ import annotations

from pathlib import Path

from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import OK
from pipeline.console import Terminal, open_terminal
from pipeline.metadata.database import has_runs
from pipeline.run.command_line import named_settings, run_to_end
from pipeline.settings import Settings, of_demo


def clean_old(given: Given) -> int:
    """Cleans.

    Returns:
        0 if everything old is gone, 1 if it could not be removed.

    Raises:
        PipelineInputError: Nothing says what is old, or there were no runs.
    """
    settings = named_settings(given)
    if settings.keep.keeps_everything:
        raise PipelineInputError("keep.runs and keep.versions are null, so everything is kept: set one of them.")
    settings = _settings_of_runs(settings)
    terminal = open_terminal(settings, verbose=False)
    return run_to_end(terminal, lambda: _clean(settings, terminal))


def _settings_of_runs(settings: Settings) -> Settings:
    """The settings under whose name there were runs: the ones given, or those of the demo catalogue's runs."""
    candidates = [settings, of_demo(settings)]
    for candidate in candidates:
        if has_runs(candidate):
            return candidate
    if settings.metadata.database:
        names = " or ".join(candidate.name for candidate in candidates)
        raise PipelineInputError(f"There are no runs of the name {names} in {settings.metadata.database}.")
    raise PipelineInputError(f"There are no runs in {' or '.join(candidate.home for candidate in candidates)}.")


def _clean(settings: Settings, terminal: Terminal) -> int:
    terminal.moment("Looking for what is old")
    from pipeline.metadata.cleaning import clean
    from pipeline.metadata.leftovers import only_run

    with only_run(Path(settings.home)):
        cleaned = clean(settings)
    terminal.line(f"{settings.name}: {cleaned}")
    return OK
