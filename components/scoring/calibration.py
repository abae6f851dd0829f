"""Whether a probability means what it says, and how to make it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from components.scoring.scores import Estimate, Floats, Indices

BINS = 15
"""Equal widths of probability that answers are put into, as in Guo et al., 2017."""

_LARGEST = 20.0
_PRIOR_DEVIATION = 0.5
_HANDFUL = 20
_SIMULATIONS = 200
SMALLEST_PROBABILITY = 1e-30
"""What stands in for zero where a logarithm is taken."""


@dataclass(frozen=True)
class Calibration:
    """What is done with a model's probabilities.

    Attributes:
        temperature: what the logits are divided by.
        sure_from: the probability, in the end, from which an answer is called sure.
        prior_shift: what is added to the logits ``[genres]`` then, see :func:`prior_shift`; 0 for all if empty.
    """

    temperature: float = 1.0
    sure_from: float = 0.0
    prior_shift: tuple[float, ...] = ()

    def of(self, probabilities: npt.NDArray[Any]) -> Floats:
        """Calibrated probabilities ``[tracks, genres]``."""
        return with_temperature(probabilities, self.temperature, self.prior_shift)


@dataclass(frozen=True, eq=False)
class Unseen:
    """Answers to tracks that a model was not trained on.

    Attributes:
        probabilities: ``[tracks, genres]``.
        actual: class indices ``[tracks]``.
        prior_shift: what the answers are to be shifted by.
        weights: how many tracks each stands for ``[tracks]``; None for one each.
    """

    probabilities: npt.NDArray[Any]
    actual: Indices
    prior_shift: tuple[float, ...] = ()
    weights: Floats | None = None


def with_temperature(
    probabilities: npt.NDArray[Any], temperature: float, prior_shift: tuple[float, ...] = ()
) -> Floats:
    """Probabilities ``[tracks, genres]`` as the softmax of the logits divided by the temperature (> 0) and shifted."""
    logits = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature + np.array(prior_shift or 0)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def prior_shift(natural: Indices, trained: Indices) -> tuple[float, ...]:
    """What puts right the probabilities of a model that learned from other shares of genres than there are.

    The logarithm of how much more frequent each genre is than it was in training (Saerens, Latinne, Decaestecker,
    Neural Computation 14, 2002).

    Args:
        natural: tracks by class index, as they are.
        trained: those that the model learned from.

    Returns:
        By class index; 0 for a genre without tracks.
    """
    there = (natural > 0) & (trained > 0)
    shares = np.where(there, natural, 1) / natural.sum() / np.where(there, trained, 1) * trained.sum()
    return tuple(np.where(there, np.log(shares), 0.0).tolist())


def calibrate(unseen: Unseen, wanted: float) -> Calibration:
    """Finds the temperature and the threshold; ``wanted`` is how often a sure answer has to be right, 0..1."""
    temperature = fit_temperature(unseen.probabilities, unseen.actual, unseen.prior_shift, unseen.weights)
    calibrated = with_temperature(unseen.probabilities, temperature, unseen.prior_shift)
    return Calibration(temperature, sure_from(calibrated, unseen.actual, wanted, unseen.weights), unseen.prior_shift)


def fit_temperature(
    probabilities: npt.NDArray[Any],
    actual: Indices,
    prior_shift: tuple[float, ...] = (),
    weights: Floats | None = None,
) -> float:
    """The temperature under which the tracks' genres are most likely (Guo et al., On Calibration, ICML 2017).

    A handful of tracks that are all right would ask for boundless certainty: a temperature is taken to be within a
    factor of about 1.6 of 1 as long as the tracks do not say otherwise (a normal prior on its logarithm).

    Args:
        probabilities: shape ``[tracks, genres]``, at least one track that the model was not trained on.
        actual: class indices ``[tracks]``.
        prior_shift, weights: see :class:`Unseen`.

    Returns:
        Between 1/20 and 20: one number does not change which genre is the most probable.
    """
    rows = np.arange(len(actual))

    def loss(log_temperature: float) -> float:
        own = with_temperature(probabilities, float(np.exp(log_temperature)), prior_shift)[rows, actual]
        surprise = -(_weights(weights, rows) * np.log(np.maximum(own, SMALLEST_PROBABILITY))).sum()
        return float(surprise + (log_temperature / _PRIOR_DEVIATION) ** 2 / 2)

    bound = np.log(_LARGEST)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def _weights(weights: Floats | None, tracks: Indices) -> Floats:
    return np.ones(len(tracks)) if weights is None else weights


def sure_from(probabilities: npt.NDArray[Any], actual: Indices, wanted: float, weights: Floats | None = None) -> float:
    """The lowest probability from which answers are right as often as is wanted.

    Args:
        probabilities: calibrated, ``[tracks, genres]``, of tracks that the model was not trained on.
        actual: class indices ``[tracks]``.
        wanted: share of the answers from there on that has to be right, 0..1.
        weights: see :class:`Unseen`.

    Returns:
        0..1; above 1 if not even the surest answers are right so often.
    """
    sure = probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    right = (probabilities.argmax(axis=1) == actual)[order]
    counted = _weights(weights, order)[order]
    shares = (right * counted).cumsum() / counted.cumsum()
    # The share of a handful is chance.
    enough = np.flatnonzero((shares >= wanted) & (np.arange(len(right)) + 1 >= min(_HANDFUL, len(right))))
    return float(sure[order][enough[-1]]) if len(enough) else 2.0


def calibration_bins(probabilities: npt.NDArray[Any], actual: Indices) -> Floats:
    """Answers by how sure they are.

    Args:
        probabilities: shape ``[tracks, genres]``.
        actual: class indices ``[tracks]``.

    Returns:
        Shape ``[15, 3]``: of the answers whose probability falls into each of 15 equal widths of 0..1, the number, the
        mean probability and the share that is right; NaN for the latter two where there is none.
    """
    sure = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == actual).astype(float)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts, sums, hits = (np.bincount(place, weights, minlength=BINS) for weights in (None, sure, right))
    with np.errstate(invalid="ignore"):
        return np.stack([counts, sums / counts, hits / counts], axis=1)


def expected_calibration_error(probabilities: npt.NDArray[Any], actual: Indices) -> float:
    """Mean difference between how sure the answers are and how often they are right, 0..1; NaN without tracks.

    Over 15 equal widths of probability, weighted by their tracks (Naeini, Cooper, Hauskrecht, AAAI 2015).
    """
    counts, sure, right = calibration_bins(probabilities, actual).T
    filled = counts > 0
    if not filled.any():
        return float("nan")
    return float(np.average(np.abs(sure - right)[filled], weights=counts[filled]))


def error_by_chance(probabilities: npt.NDArray[Any]) -> float:
    """The expected calibration error that probabilities without any fault would show on so many tracks, 0..1.

    The mean over simulations in which each answer is right with the probability that it states (consistency sampling:
    Bröcker, Smith, Weather and Forecasting 22, 2007). NaN without tracks.
    """
    sure = probabilities.max(axis=1)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    rng = np.random.default_rng(0)
    excess = (np.bincount(place, (rng.random(len(sure)) < sure) - sure, BINS) for _ in range(_SIMULATIONS))
    return float(np.mean([np.abs(each).sum() for each in excess])) / len(sure) if len(sure) else float("nan")


def confidence_gap(probabilities: npt.NDArray[Any], actual: Indices, confidence: float) -> Estimate:
    """How sure the answers are on average, less how often they are right: -1..1, above 0 for a model that is too sure.

    With a normal interval; NaN without tracks.
    """
    gaps = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == actual)
    if not len(gaps):
        return Estimate(float("nan"), float("nan"), float("nan"))
    width = norm.ppf((1 + confidence) / 2) * gaps.std() / np.sqrt(len(gaps))
    return Estimate(float(gaps.mean()), float(gaps.mean() - width), float(gaps.mean() + width))


def log_loss(probabilities: npt.NDArray[Any], actual: Indices) -> float:
    """The mean surprise at the tracks' genres, in nats; NaN without tracks."""
    own = probabilities[np.arange(len(actual)), actual]
    return float(-np.log(np.maximum(own, SMALLEST_PROBABILITY)).mean()) if len(own) else float("nan")


def accuracy_of_surest(probabilities: npt.NDArray[Any], actual: Indices, share: float) -> float:
    """How often the surest answers are right, 0..1; ``share`` of all answers, one at least. NaN without tracks."""
    right = (probabilities.argmax(axis=1) == actual)[np.argsort(-probabilities.max(axis=1), kind="stable")]
    return float(right[: max(1, round(share * len(right)))].mean()) if len(right) else float("nan")
