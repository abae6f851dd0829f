"""What an ingestion read and left out, and whether the run may go on with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.splits import SPLITS, TEST, TRAIN, VALIDATION, SplitBy
from components.track_example_gen.unmatched import UnmatchedLabel
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import Rejection

_SHOWN = 5

FOLLOWS = {
    TRAIN: "no model can learn it",
    VALIDATION: "it has no say in which model is selected and when training ends",
    TEST: "no score says how well it is recognised",
}
"""What follows if a split has no track of a genre."""


class IngestSummary(msgspec.Struct, frozen=True):
    """Counts of one ingestion.

    Attributes:
        examples: tracks by split, then by genre.
        artists: artists by split; tracks that name none are not counted.
        unlabelled: tracks without a genre, left out.
        rejected: tracks and files left out for a fault; these and all others that are left out, but for the
            unlabelled, are in ``rejections.jsonl``, each with a reason.
        repeated: tracks left out because they are there once more, under their own or another id.
        without_artist: examples whose artist is unknown.
        other_genres: tracks left out for a genre outside the genre list, by genre, the most frequent first.
        several_genres: tracks under several genres, left out or not; they are in ``several_genres.jsonl``.
        read: tracks and files, whatever became of them.
        analysers: examples by what computed their segments.
        new: those of ``read`` that this run has read; the others were taken over from earlier runs.
        spans: their numbers, the oldest first; one is 0 where the catalogue has no spans.
        noted: examples from sound files with which something was amiss, by what it was; they are in ``notes.jsonl``.
        labels_without_track: rows of labels files that fit no track; they and the next are in
            ``unmatched_labels.jsonl``.
        contradictions: examples whose labels file, own file and folder name different genres, by who contradicts whom;
            they are in ``contradictions.jsonl``.
        labels_in_doubt: rows that fit several tracks, or contradict another row, and label none.
    """

    examples: dict[str, dict[str, int]]
    artists: dict[str, int]
    unlabelled: int
    rejected: int
    repeated: int
    several_genres: int
    read: int
    analysers: dict[str, int]
    new: int
    spans: list[int]
    noted: dict[str, int] = {}
    labels_without_track: int = 0
    labels_in_doubt: int = 0
    without_artist: int = 0
    other_genres: dict[str, int] = {}
    contradictions: dict[str, int] = {}

    @property
    def tracks(self) -> dict[str, int]:
        """Examples by split."""
        return {split: sum(genres.values()) for split, genres in self.examples.items()}

    def gaps(self, genres: Iterable[str]) -> list[str]:
        """A line for each split in which a genre has no track at all, with what follows."""
        missing = {split: [genre for genre in genres if genre not in found] for split, found in self.examples.items()}
        lines = [
            f"no track of {', '.join(names)} in {split}: {FOLLOWS[split]}" for split, names in missing.items() if names
        ]
        if any(genre in self.examples[TRAIN] for names in missing.values() for genre in names):
            lines.append("a genre needs at least three artists to be in every split")
        return lines

    def __str__(self) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in self.tracks.items())
        left_out = f"{self.unlabelled:,} unlabelled, {self.rejected:,} rejected"
        if self.repeated:
            left_out += f", {self.repeated:,} repeated"
        if self.other_genres:
            left_out += f", {sum(self.other_genres.values()):,} of other genres"
        if self.several_genres:
            left_out += f"; {self.several_genres:,} under several genres"
        return f"{sum(self.tracks.values()):,} tracks: {splits}; {left_out}; {self.analysed}"

    def lines(self) -> list[str]:
        """What a person is told; of spans and of what was taken over only where there are any."""
        told = [] if self.spans == [0] else [f"{len(self.spans):,} spans, the newest {self.spans[-1]}"]
        if self.new < self.read:
            told.append(f"{self.new:,} new, {self.read - self.new:,} taken over from earlier runs")
        noted = ", ".join(f"{kind} ({count:,})" for kind, count in self.noted.items())
        amiss = f"sound files used although something is amiss: {noted}" if noted else ""
        lines = ["; ".join(told), amiss, self._of_other_genres(), self._on_contradictions(), self.on_artists()]
        return [str(self), *filter(None, lines), *self._unmatched()]

    def on_artists(self) -> str:
        """What follows where artists are unknown; empty where all are known."""
        tracks = sum(self.tracks.values())
        if not self.without_artist:
            return ""
        some = f"{self.without_artist:,} of {tracks:,} tracks lack the artist"
        return (
            f"{'no track names an artist' if self.without_artist == tracks else some}: each of them is split by itself,"
            " and scores are also of tracks of artists that a model may have learned from"
        )

    def _of_other_genres(self) -> str:
        named = [f"{genre} ({count:,})" for genre, count in list(self.other_genres.items())[:_SHOWN]]
        more = len(self.other_genres) - len(named)
        return (
            f"left out, for their genre is not in the genre list: {', '.join(named)}"
            + (f" and {more:,} more genres" if more else "")
            + "; see data.other_genres"
            if named
            else ""
        )

    def _on_contradictions(self) -> str:
        found = ", ".join(f"{who} ({count:,})" for who, count in self.contradictions.items())
        return (
            f"genres that contradict each other, of which the former counts: {found}; listed in contradictions.jsonl"
            if found
            else ""
        )

    def _unmatched(self) -> list[str]:
        if not self.labels_without_track + self.labels_in_doubt:
            return []
        return [
            f"rows of the labels file that label no track: {self.labels_without_track:,} fit none,"
            f" {self.labels_in_doubt:,} fit several or contradict another; listed in unmatched_labels.jsonl"
        ]

    @property
    def analysed(self) -> str:
        """The analysers, with counts where there are several."""
        if len(self.analysers) == 1:
            return f"analyser {next(iter(self.analysers))}"
        return "analysers " + ", ".join(f"{name} ({count:,})" for name, count in self.analysers.items())


class NoteOnTrack(msgspec.Struct, frozen=True):
    """What is amiss with a track that is used all the same: with its sound file, or between its genres."""

    path: str
    track_id: str
    note: str


class GenresOfTrack(msgspec.Struct, frozen=True):
    """A track under several genres, and the one that counts; empty where the track is left out."""

    path: str
    track_id: str
    genres: tuple[str, ...]
    genre: str


def summarize(
    outcomes: Sequence[TrackOutcome], new: int, spans: list[int], unmatched: Sequence[UnmatchedLabel] = ()
) -> IngestSummary:
    """Counts what became of every track and row; see :class:`IngestSummary` for ``new`` and ``spans``."""
    examples = [outcome for outcome in outcomes if outcome.split]
    return IngestSummary(
        examples={
            split: dict(sorted(Counter(outcome.genre for outcome in examples if outcome.split == split).items()))
            for split in SPLITS
        },
        artists={
            split: len({outcome.artist for outcome in examples if outcome.split == split and outcome.artist})
            for split in SPLITS
        },
        unlabelled=sum(not outcome.split and not outcome.reason for outcome in outcomes),
        rejected=sum(_is_rejected(outcome) for outcome in outcomes),
        repeated=sum(bool(outcome.reason) and outcome.left_out == "repeated" for outcome in outcomes),
        several_genres=len(several_genres(outcomes)),
        read=len(outcomes),
        analysers=dict(sorted(Counter(outcome.analyser for outcome in examples).items())),
        new=new,
        spans=spans,
        noted=_kinds(notes(examples)),
        labels_without_track=sum(not row.fits for row in unmatched),
        labels_in_doubt=sum(bool(row.fits) for row in unmatched),
        without_artist=sum(not outcome.artist for outcome in examples),
        other_genres=dict(Counter(each.genre for each in outcomes if each.left_out == "other_genre").most_common()),
        contradictions=_kinds(contradictions(examples)),
    )


def _kinds(noted: Iterable[NoteOnTrack]) -> dict[str, int]:
    """How many there are of each kind, which ends at the colon."""
    return dict(Counter(item.note.partition(":")[0] for item in noted).most_common())


def notes(outcomes: Iterable[TrackOutcome]) -> list[NoteOnTrack]:
    """What is amiss with the examples that come from sound files."""
    return [_note(outcome, note) for outcome in outcomes if outcome.split for note in outcome.notes]


def contradictions(outcomes: Iterable[TrackOutcome]) -> list[NoteOnTrack]:
    """Where examples have different genres in the labels file, in their own file and by their folder."""
    return [_note(outcome, note) for outcome in outcomes if outcome.split for note in outcome.contradictions]


def _note(outcome: TrackOutcome, note: str) -> NoteOnTrack:
    return NoteOnTrack(outcome.path, outcome.track_id, note)


def rejections(outcomes: Iterable[TrackOutcome]) -> list[Rejection]:
    """Everything that is left out with a reason; what is at fault comes first."""
    left_out = sorted((outcome for outcome in outcomes if outcome.reason), key=lambda each: not _is_rejected(each))
    return [Rejection(outcome.path, outcome.reason, outcome.track_id) for outcome in left_out]


def several_genres(outcomes: Iterable[TrackOutcome]) -> list[GenresOfTrack]:
    """The tracks under several genres, and what was decided of each."""
    return [
        GenresOfTrack(outcome.path, outcome.track_id, outcome.genres, outcome.genre)
        for outcome in outcomes
        if len(outcome.genres) > 1
    ]


def other_genres_rejected(outcomes: Iterable[TrackOutcome]) -> list[TrackOutcome]:
    """The outcomes, with a genre outside the genre list as a fault."""
    return [
        msgspec.structs.replace(outcome, left_out="rejected", genre="")
        if outcome.left_out == "other_genre"
        else outcome
        for outcome in outcomes
    ]


def _is_rejected(outcome: TrackOutcome) -> bool:
    return bool(outcome.reason) and outcome.left_out == "rejected"


def require_one_analyser(summary: IngestSummary) -> None:
    """Stops a run that would learn from values that cannot be compared.

    Raises:
        PipelineInputError: the examples' segments are from several analysers.
    """
    if len(summary.analysers) > 1:
        found = ", ".join(f"{count:,} by {name}" for name, count in summary.analysers.items())
        raise PipelineInputError(
            f"The tracks are from different analysers, whose values cannot be compared: {found}. Train on those of one,"
            " or set data.mix_analysers to true."
        )


def require_usable(
    summary: IngestSummary, rejected: Sequence[Rejection], max_rejected_share: float, split_by: SplitBy
) -> None:
    """Stops a run that would train on too little.

    Raises:
        PipelineInputError: too large a share was rejected, nothing is labelled, a split is empty, or there is
            one genre only to learn from.
    """
    read = summary.read
    if read and summary.rejected / read > max_rejected_share:
        raise PipelineInputError(
            f"{summary.rejected:,} of {read:,} tracks were rejected, more than data.max_rejected_share ="
            f" {max_rejected_share * 100:.3g}% allows:{_listed(rejected)}"
        )
    if read and summary.rejected == read:
        raise PipelineInputError(f"All {read:,} tracks were rejected:{_listed(rejected)}")
    if not sum(summary.tracks.values()) and summary.several_genres:
        raise PipelineInputError(
            f"Every track that has a genre, {summary.several_genres:,} of them, is under several, and"
            " data.several_genres = drop leaves those out. Set it to first or majority."
        )
    if not sum(summary.tracks.values()) and summary.other_genres:
        raise PipelineInputError(
            f"No track has a genre of the genre list: {sum(summary.other_genres.values()):,} are of others, such as"
            f" {', '.join(list(summary.other_genres)[:_SHOWN])}. Set genres to those that your labels name."
        )
    if not sum(summary.tracks.values()):
        raise PipelineInputError(
            f"None of the {read:,} tracks has a genre: the labels file has no row with their ids (or, without a labels"
            " file, no tag names one and no folder is named after one)."
        )
    empty = [split for split, count in summary.tracks.items() if not count]
    if empty:
        raise PipelineInputError(
            f"No track falls into the split {' and '.join(empty)}: {sum(summary.tracks.values()):,} tracks of"
            f" {sum(summary.artists.values()):,} artists, split by {split_by}. Bring more"
            + (", or set data.split_by to track." if split_by == "artist" else ".")
        )
    if len(summary.examples[TRAIN]) == 1:
        (genre,) = summary.examples[TRAIN]
        raise PipelineInputError(
            f"All {summary.tracks[TRAIN]:,} training tracks are {genre}: there is nothing to tell apart. Bring"
            " tracks of other genres."
        )


def _listed(rejected: Sequence[Rejection]) -> str:
    listed = "".join(f"\n  {item.path}: {item.reason}" for item in rejected[:_SHOWN])
    return listed + (f"\n  and {len(rejected) - _SHOWN:,} more, all in the log" if len(rejected) > _SHOWN else "")
