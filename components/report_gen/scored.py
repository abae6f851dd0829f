"""From a model's answers to its scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from components.report_gen.content import (
    Average,
    Calibration,
    Change,
    GenreRow,
    Mistake,
    ReliabilityBin,
    Scores,
)
from components.scoring.calibration import (
    accuracy_of_surest,
    calibration_bins,
    confidence_gap,
    error_by_chance,
    expected_calibration_error,
    log_loss,
    with_temperature,
)
from components.scoring.predictions import Predictions
from components.scoring.scores import (
    Bootstrap,
    Confusion,
    Estimate,
    Indices,
    accuracy,
    balanced_accuracy,
    genre_scores,
    macro_f1,
    majority_share,
)
from components.trainer.record import TrainingRecord

_COVERAGES = (1.0, 0.75, 0.5, 0.25)


def score(model: str, predictions: Predictions, bootstrap: Bootstrap) -> Scores:
    """A model's scores, with their intervals."""
    confusion = predictions.confusion
    macro, weighted = _averages(confusion)
    return Scores(
        model=model,
        tracks=len(predictions.probabilities),
        accuracy=bootstrap.of(accuracy, confusion),
        balanced_accuracy=bootstrap.of(balanced_accuracy, confusion),
        macro_f1=bootstrap.of(macro_f1, confusion),
        majority_share=float(majority_share(confusion)),
        genres=[_genre_row(genre, index, confusion, bootstrap) for index, genre in enumerate(predictions.genres)],
        macro_average=macro,
        weighted_average=weighted,
        confusion=confusion.astype(int).tolist(),
        calibration=_calibration(predictions.probabilities, predictions.actual, bootstrap.confidence),
    )


def uncalibrated(predictions: Predictions, training: TrainingRecord, confidence: float) -> Calibration:
    """The calibration of the probabilities before they were shifted, and scaled by the temperature."""
    unshifted = with_temperature(predictions.probabilities, 1, tuple(-shift for shift in training.prior_shift))
    raw = with_temperature(unshifted, 1 / training.temperature)
    return _calibration(raw, predictions.actual, confidence)


def change(new: Predictions, old: Predictions, bootstrap: Bootstrap) -> Change:
    """How two models' scores on the old one's tracks differ.

    Raises:
        ValueError: the new one did not answer them.
    """
    new = new.only(set(old.tracks["track_id"].to_pylist()))
    if new.genres != old.genres or new.tracks["track_id"] != old.tracks["track_id"]:
        raise ValueError("the candidate and the baseline answered different tracks or genres")

    pairs = bootstrap.paired(new.actual, new.predicted, old.predicted, len(new.genres))
    return Change(pairs.change(accuracy), pairs.change(balanced_accuracy), pairs.change(macro_f1))


def mistakes(predictions: Predictions, most: int) -> list[Mistake]:
    """The wrong answers of the highest probabilities, at most so many; equal ones by track id."""
    sure = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.actual)
    tracks = predictions.tracks.to_pylist()
    first = sorted(wrong, key=lambda row: (-sure[row], tracks[row]["track_id"]))[:most]
    return [
        Mistake(
            track_id=tracks[row]["track_id"],
            title=tracks[row]["title"],
            artist=tracks[row]["artist"],
            actual=tracks[row]["genre"],
            predicted=predictions.genres[predictions.predicted[row]],
            probability=float(sure[row]),
        )
        for row in first
    ]


def _genre_row(genre: str, index: int, confusion: Confusion, bootstrap: Bootstrap) -> GenreRow:
    def of(name: str) -> Estimate:
        return bootstrap.of(lambda stack: genre_scores(stack)[name][..., index], confusion)

    return GenreRow(genre, int(confusion[index].sum()), of("precision"), of("recall"), of("f1"))


def _averages(confusion: Confusion) -> tuple[Average, Average]:
    scores = genre_scores(confusion)
    occurring = scores["support"] > 0
    values = [np.nan_to_num(scores[name][occurring]) for name in ("precision", "recall", "f1")]
    if not occurring.any():
        return Average(*[np.nan] * 3), Average(*[np.nan] * 3)
    return (
        Average(*(float(value.mean()) for value in values)),
        Average(*(float(np.average(value, weights=scores["support"][occurring])) for value in values)),
    )


def _calibration(probabilities: npt.NDArray[np.floating[Any]], actual: Indices, confidence: float) -> Calibration:
    bins = calibration_bins(probabilities, actual)
    return Calibration(
        expected_calibration_error(probabilities, actual),
        error_by_chance(probabilities),
        confidence_gap(probabilities, actual, confidence),
        log_loss(probabilities, actual),
        {f"{share:.0%}": accuracy_of_surest(probabilities, actual, share) for share in _COVERAGES},
        [ReliabilityBin(int(tracks), float(sure), float(right)) for tracks, sure, right in bins],
    )
