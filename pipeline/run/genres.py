"""``deepmusic genres``: the names of genres in a catalogue, and what each becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from components.track_example_gen.other_genres import OTHER, gathering
from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.tracks.labels import GenreNames
from pipeline.console import Terminal, open_terminal
from pipeline.run.command_line import named_settings, run_to_end
from pipeline.settings import Settings

if TYPE_CHECKING:
    from components.track_example_gen.survey import GenreSurvey

_OUTSIDE = {
    "leave_out": "left out: not in the genre list",
    "reject": "rejected: not in the genre list",
    "gather": OTHER,
}


def show_genres(given: Given) -> int:
    """Shows which genres a catalogue names, how often, and what a run would make of them.

    Returns:
        0 if a track has a genre of the list; 1 if none has, or the catalogue cannot be read; 130 or 143 if it was
        stopped.

    Raises:
        PipelineInputError: The settings name no data, or cannot be used.
    """
    settings = named_settings(given)
    if settings.catalogue.path is None:
        raise PipelineInputError("There is no catalogue: name one by --data or data.path.")
    terminal = open_terminal(settings, given.verbose)
    return run_to_end(terminal, lambda: _show(settings, terminal))


def _show(settings: Settings, terminal: Terminal) -> int:
    # TensorFlow takes seconds to import; what can go wrong without it has gone wrong by now.
    terminal.moment("Starting TensorFlow")
    from components.track_example_gen.spans import find_spans
    from components.track_example_gen.survey import Rules, survey

    catalogue, data = settings.catalogue, settings.data
    other = gathering(settings.genres) if data.other_genres == "gather" else None
    names = GenreNames(settings.genres, other, data.genre_names)
    rules = Rules(names, data.several_genres, data.label_columns)
    found = survey(find_spans(str(catalogue.path), catalogue.labels, catalogue.spans), rules)
    terminal.names(
        [(name, count, found.becomes[name] or _OUTSIDE[data.other_genres]) for name, count in found.names.most_common()]
    )
    for line in _lines(found, settings):
        terminal.line(line)
    return OK if any(found.tracks[genre] for genre in settings.genres) else FAULT


def _lines(found: GenreSurvey, settings: Settings) -> Iterator[str]:
    yield f"{found.tracks.total():,} tracks: {_counts({genre: found.tracks[genre] for genre in settings.genres})}"
    others = {what: count for what, count in found.tracks.items() if what not in settings.genres}
    if others:
        yield f"left out: {_counts(others)}"
    if found.rejection:
        yield f"  {found.rejection.path}: {found.rejection.reason}"
    if found.named_by:
        yield f"genres named by {_counts(found.named_by)}"
    if found.contradictions:
        yield f"contradictions, of which the former counts: {_counts(found.contradictions)}"
    if found.unused_labels:
        yield f"rows of the labels file that fit no track: {found.unused_labels:,}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts.items())
