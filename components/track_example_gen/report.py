"""What an ingestion read and left out, and whether the run may go on with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from components.errors import PipelineInputError
from components.track_example_gen.ingest import Verdict
from components.track_example_gen.splits import SPLITS, TRAIN, SplitBy
from sources.track import Rejection

_SHOWN = 5


class IngestSummary(msgspec.Struct, frozen=True):
    """Counts of one ingestion.

    Attributes:
        examples: tracks by split, then by genre.
        artists: artists by split; tracks that name none are not counted.
        unlabelled: tracks without a genre, left out.
        rejected: tracks and files left out, each with a reason in ``rejections.jsonl``.
    """

    examples: dict[str, dict[str, int]]
    artists: dict[str, int]
    unlabelled: int
    rejected: int

    @property
    def tracks(self) -> dict[str, int]:
        """Examples by split."""
        return {split: sum(genres.values()) for split, genres in self.examples.items()}

    def gaps(self, genres: Iterable[str]) -> list[str]:
        """A line for each split in which a genre has no track at all: it is not learned, or not measured, there."""
        missing = {split: [genre for genre in genres if genre not in found] for split, found in self.examples.items()}
        return [f"no track of {', '.join(names)} in {split}" for split, names in missing.items() if names]

    def __str__(self) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in self.tracks.items())
        left_out = f"{self.unlabelled:,} unlabelled, {self.rejected:,} rejected"
        return f"{sum(self.tracks.values()):,} tracks: {splits}; {left_out}"


def summarize(verdicts: Sequence[Verdict]) -> IngestSummary:
    """Counts what became of every track."""
    examples = [verdict for verdict in verdicts if verdict.split]
    return IngestSummary(
        examples={
            split: dict(sorted(Counter(verdict.genre for verdict in examples if verdict.split == split).items()))
            for split in SPLITS
        },
        artists={
            split: len({verdict.artist for verdict in examples if verdict.split == split and verdict.artist})
            for split in SPLITS
        },
        unlabelled=sum(not verdict.split and not verdict.reason for verdict in verdicts),
        rejected=sum(bool(verdict.reason) for verdict in verdicts),
    )


def rejections(verdicts: Iterable[Verdict]) -> list[Rejection]:
    """The rejected ones."""
    return [Rejection(verdict.path, verdict.reason, verdict.track_id) for verdict in verdicts if verdict.reason]


def require_usable(
    summary: IngestSummary, rejected: Sequence[Rejection], max_rejected_share: float, split_by: SplitBy
) -> None:
    """Stops a run that would train on too little.

    Raises:
        PipelineInputError: too large a share was rejected, nothing is labelled, a split is empty, or there is
            one genre only to learn from.
    """
    read = sum(summary.tracks.values()) + summary.unlabelled + summary.rejected
    if read and summary.rejected / read > max_rejected_share:
        raise PipelineInputError(
            f"{summary.rejected:,} of {read:,} tracks were rejected, more than data.max_rejected_share ="
            f" {max_rejected_share * 100:.3g}% allows:{_listed(rejected)}"
        )
    if read and summary.rejected == read:
        raise PipelineInputError(f"All {read:,} tracks were rejected:{_listed(rejected)}")
    if not sum(summary.tracks.values()):
        raise PipelineInputError(
            f"None of the {read:,} tracks has a genre: the labels file has no row with their ids (or, without a labels"
            " file, no folder is named after a genre)."
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
