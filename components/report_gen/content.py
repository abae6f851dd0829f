"""What a report says: everything that its page shows, as plain numbers and texts.

A score is a share, 0..1, and NaN (null in JSON) where it is undefined.
"""

from __future__ import annotations

from typing import Any

import msgspec

from components.model_selector.selection import Candidate
from components.model_validator.verdict import Verdict
from components.scoring.scores import Estimate
from components.track_example_gen.report import GenresOfTrack, IngestSummary
from components.trainer.record import TrainingRecord
from deepmusic_genre.tracks.track import Rejection

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the coefficients' values."""


class SplitCounts(msgspec.Struct, frozen=True):
    """The examples of one split: tracks by genre, and artists, not counting tracks that name none."""

    split: str
    artists: int
    genres: dict[str, int]

    @property
    def tracks(self) -> int:
        """Of all genres."""
        return sum(self.genres.values())


class SegmentCounts(msgspec.Struct, frozen=True):
    """How many segments the tracks of one split have.

    Attributes:
        edges: of the histogram's bins, ``[bins + 1]``.
        tracks: in each bin, ``[bins]``; estimates, hence not whole.
    """

    split: str
    minimum: float
    median: float
    mean: float
    maximum: float
    edges: list[float]
    tracks: list[float]


class DataReport(msgspec.Struct, frozen=True):
    """What was read, and what of it the models learned from and were tested on.

    Attributes:
        quantiles: which ones ``coefficients`` has.
        coefficients: quantiles over all segments, by coefficient, then by genre; genres without tracks are left out.
        anomalies: a line each.
    """

    ingest: IngestSummary
    rejections: list[Rejection]
    several_genres: list[GenresOfTrack]
    splits: list[SplitCounts]
    segments: list[SegmentCounts]
    quantiles: tuple[float, ...]
    coefficients: dict[str, dict[str, list[float]]]
    anomalies: list[str]


class GenreRow(msgspec.Struct, frozen=True):
    """One genre's scores; ``support`` is its number of tracks."""

    genre: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


class Average(msgspec.Struct, frozen=True):
    """Means over the genres that occur; an undefined precision counts as 0, as scikit-learn has it."""

    precision: float
    recall: float
    f1: float


class ReliabilityBin(msgspec.Struct, frozen=True):
    """Answers of about one probability: how many, their mean probability, and the share that is right."""

    tracks: int
    probability: float
    accuracy: float


class Calibration(msgspec.Struct, frozen=True):
    """How far probabilities can be believed.

    Attributes:
        error: the expected calibration error.
        by_chance: what it would be without any fault, on so many tracks.
        gap: mean confidence less accuracy.
        log_loss: in nats.
        surest: how often the surest answers are right, by their share of all answers.
        bins: what the error is made of.
    """

    error: float
    by_chance: float
    gap: Estimate
    log_loss: float
    surest: dict[str, float]
    bins: list[ReliabilityBin]


class Scores(msgspec.Struct, frozen=True):
    """A model's scores on the test split.

    Attributes:
        majority_share: accuracy of always answering the most frequent genre.
        confusion: tracks by genre ``[actual, predicted]``, in the order of ``genres``.
        calibration: of the probabilities as they are served.
    """

    model: str
    tracks: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    majority_share: float
    genres: list[GenreRow]
    macro_average: Average
    weighted_average: Average
    confusion: list[list[int]]
    calibration: Calibration


class Change(msgspec.Struct, frozen=True):
    """A model's scores less the baseline's on the same tracks, -1..1."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate


class Mistake(msgspec.Struct, frozen=True):
    """A track whose most probable genre is not its own, and that genre's probability."""

    track_id: str
    title: str
    artist: str
    actual: str
    predicted: str
    probability: float


class SliceRow(msgspec.Struct, frozen=True):
    """Scores on the test tracks that have one value of a feature."""

    value: str
    tracks: int
    accuracy: float
    macro_f1: float


class ModelReport(msgspec.Struct, frozen=True):
    """One candidate.

    Attributes:
        validation: its scores on the validation split, by which one was selected.
        uncalibrated: how its probabilities were before they were scaled by the temperature.
        change: None where there is no baseline.
        mistakes: on the test split, the most probable first.
        slices: by feature; what the evaluation did not slice by is not there.
    """

    training: TrainingRecord
    validation: Candidate
    test: Scores
    uncalibrated: Calibration
    change: Change | None
    mistakes: list[Mistake]
    slices: dict[str, list[SliceRow]]

    @property
    def name(self) -> str:
        """The model's."""
        return self.training.model

    @property
    def listens(self) -> bool:
        """Whether it hears tracks through a pretrained network."""
        return self.training.listens


class Timing(msgspec.Struct, frozen=True):
    """Wall-clock time of a component."""

    component: str
    seconds: float


class Lineage(msgspec.Struct, frozen=True):
    """Where a report comes from; None where the runner does not tell."""

    pipeline: str
    run_id: str | None
    code_version: str
    data_fingerprint: str | None
    versions: dict[str, str]


class Report(msgspec.Struct, frozen=True):
    """A run.

    Attributes:
        synthetic: whether the data are the generated demo catalogue.
        blessed: whether the selected model passed every check and can be served, so that it may be pushed.
        selected: that model's name.
        faults: why TF Serving could not serve it; empty if it can.
        models: the candidates in the order of the settings.
        refitted: the training on every track after the evaluation; None where the evaluated model goes on.
        baseline: the latest blessed model's scores, None where there is none.
        notes: where the numbers mislead, a sentence each.
        timings: empty where the runner does not record them.
        settings: all of them.
    """

    synthetic: bool
    blessed: bool
    selected: str
    verdict: Verdict
    faults: list[str]
    notes: list[str]
    data: DataReport
    models: list[ModelReport]
    refitted: TrainingRecord | None
    baseline: Scores | None
    timings: list[Timing]
    lineage: Lineage
    settings: dict[str, Any]

    @property
    def best(self) -> ModelReport:
        """The selected model."""
        return next(model for model in self.models if model.name == self.selected)

    @property
    def scored(self) -> list[Scores]:
        """The candidates' scores on the test split and, if there is one, the baseline's."""
        return [model.test for model in self.models] + ([self.baseline] if self.baseline else [])
