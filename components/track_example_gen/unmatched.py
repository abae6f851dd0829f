"""Rows of a labels file that label no track, found when all tracks have been read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from components.track_example_gen.outcomes import TrackOutcome
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.label_names import BY_ID, Fit, Rank, name_form
from deepmusic_genre.tracks.labels import Labels

_SHOWN = 3


class UnmatchedLabel(msgspec.Struct, frozen=True):
    """A row of a labels file that labels no track.

    Attributes:
        file: the labels file.
        line: where the row ends.
        track: the id or path that it names.
        genre: what it says of it.
        reason: why it labels none.
        fits: how many tracks it fits.
    """

    file: str
    line: int
    track: str
    genre: str
    reason: str
    fits: int


def settle_labels(
    outcomes: Sequence[TrackOutcome], labels: Labels, file: str, folders: Sequence[str]
) -> tuple[list[TrackOutcome], list[UnmatchedLabel]]:
    """Takes the genre from tracks whose row fits other tracks as well or better.

    Args:
        outcomes: of all tracks that the labels are for.
        labels: the labels file's rows.
        file: its path.
        folders: the data folders; a row that is a path below one of them means that file, whatever else it fits.

    Returns:
        The outcomes in the same order, and the rows that label no track, in the order of the file.
    """
    best: dict[int, Fit] = {}
    fitting: dict[str, dict[int, Rank]] = defaultdict(dict)
    for place, outcome in enumerate(outcomes):
        for fit in labels.fits(outcome.track_id, outcome.path):
            best.setdefault(place, fit)
            for name in fit.names:
                fitting[name].setdefault(place, fit.rank)
    settled: set[int] = set()
    reasons = dict.fromkeys(labels, "no track has this id or path")
    for name, ranks in fitting.items():
        meant = _meant(name, ranks, outcomes, folders)
        agreed = {place for place in meant if labels.agreed(Fit((name, *best[place].names), best[place].rank))}
        settled |= agreed
        if agreed:
            del reasons[name]
        else:
            reasons[name] = _doubt([outcomes[place].path for place in ranks], bool(meant))
    final = [
        _unlabelled(outcome) if place in best and place not in settled else outcome
        for place, outcome in enumerate(outcomes)
    ]
    unmatched = [
        UnmatchedLabel(file, line, name, labels[name].genre, reason, len(fitting[name]))
        for name, reason in reasons.items()
        for line in labels.lines.get(name, ())
    ]
    return final, sorted(unmatched, key=lambda row: row.line)


def require_labels_fit(outcomes: Sequence[TrackOutcome], unmatched: Sequence[UnmatchedLabel]) -> None:
    """Stops a run of which no row of the labels file labels a track.

    Raises:
        PipelineInputError: no track has a genre, or is left out for it; it shows a row and a track.
    """
    unlabelled = [outcome for outcome in outcomes if not outcome.genres and not outcome.reason]
    if not unmatched or not unlabelled or any(outcome.genres or outcome.genre for outcome in outcomes):
        return
    row, track = unmatched[0], unlabelled[0]
    raise PipelineInputError(
        f"None of the {len(outcomes):,} tracks has a genre: {len(unmatched):,} rows of the labels file label no track."
        f" Its line {row.line} names {row.track!r}: {row.reason}. A track that was read has the id {track.track_id!r}"
        f" and the path {track.path!r}."
    )


def _doubt(paths: Sequence[str], contradicted: bool) -> str:
    shown = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else "")
    if contradicted:
        return f"another row, which fits the same track at least as well, says otherwise: {shown}"
    return f"it fits {len(paths):,} tracks: {shown}"


def _meant(name: str, ranks: Mapping[int, Rank], outcomes: Sequence[TrackOutcome], folders: Sequence[str]) -> set[int]:
    """The places of the track that a row means, several where it is there several times; none if it is ambiguous."""
    best = max(ranks.values())
    places = {place for place, rank in ranks.items() if rank == best}
    if best == BY_ID or len({_content(outcomes[place]) for place in places}) == 1:
        return places
    return {place for place in places if any(_below(folder, outcomes[place].path) == name for folder in folders)}


def _content(outcome: TrackOutcome) -> str:
    return outcome.digest or f"{outcome.path} {outcome.track_id}"


def _below(folder: str, path: str) -> str:
    return name_form(path).removeprefix(name_form(folder).rstrip("/") + "/")


def _unlabelled(outcome: TrackOutcome) -> TrackOutcome:
    at_fault = outcome.reason and outcome.left_out not in ("several_genres", "other_genre")
    return outcome if at_fault else TrackOutcome(outcome.path, outcome.track_id)
