"""What every runner's command line has in common."""

from __future__ import annotations

from collections.abc import Callable

from deepmusic_genre.cli import Given
from deepmusic_genre.exit_codes import FAULT
from deepmusic_genre.process import exit_code_of, words_for
from pipeline.console import Terminal, open_terminal
from pipeline.run.conclusion import conclude_stopped, stop_of
from pipeline.settings import Settings, load_settings, location, of_demo


def settings_of(given: Given) -> Settings:
    """The settings that a command line asks for; without data, those of a run on the demo catalogue.

    Raises:
        PipelineInputError: see :func:`pipeline.settings.load_settings`.
    """
    settings = named_settings(given)
    return of_demo(settings) if settings.catalogue.path is None else settings


def named_settings(given: Given, *more: str) -> Settings:
    """The settings of the pipeline that a command line names.

    Args:
        given: What the command line says.
        more: Assignments that come last.

    Raises:
        PipelineInputError: see :func:`pipeline.settings.load_settings`.
    """
    places = {"data.path": given.data, "data.labels": given.labels}
    texts = {key: location(text) for key, text in places.items() if text is not None}
    if given.name is not None:
        texts["name"] = given.name
    return load_settings(given.settings, [*given.assignments, *more], texts)


def run_command(
    given: Given,
    run: Callable[[Settings, Terminal], int],
    require: Callable[[Settings], None] = lambda _: None,
) -> int:
    """Runs the pipeline as a command line asks for it, and tells how it ended if it did not come to its end.

    Args:
        given: What the command line says.
        run: answers with the exit code.
        require: raises PipelineInputError for settings that cannot be run.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.

    Raises:
        PipelineInputError: The settings cannot be run, or nothing can be written where they say.
    """
    settings = settings_of(given)
    require(settings)
    terminal = open_terminal(settings, given.verbose)
    return run_to_end(
        terminal,
        lambda: run(settings, terminal),
        lambda error: conclude_stopped(settings, stop_of(error), terminal),
    )


def run_to_end(
    terminal: Terminal, work: Callable[[], int], conclude: Callable[[Exception], int] = lambda _: FAULT
) -> int:
    """Does a command's work, and shows in a line what keeps it from its end.

    Args:
        terminal: Has taken over standard output and error.
        work: Answers with the exit code.
        conclude: Answers with the exit code after a fault, which has been shown.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.
    """
    try:
        return work()
    except KeyboardInterrupt as stop:
        terminal.error(f"{words_for(stop)} Run the same command to resume.")
        return exit_code_of(stop)
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        terminal.failure("", error)
        return conclude(error)
