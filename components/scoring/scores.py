"""Scores of a classifier, all derived from its confusion matrix.

Every function takes one matrix or a stack of them (bootstrap resamples), and answers with one score or as many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

Confusion = Floats
"""Tracks by genre ``[..., actual, predicted]``."""

GENRE_SCORES = ("support", "precision", "recall", "f1")


def confusion_matrix(actual: Indices, predicted: Indices, num_genres: int) -> Confusion:
    """Counts tracks, shape ``[num_genres, num_genres]``, from class indices ``[tracks]``."""
    cells = np.bincount(actual * num_genres + predicted, minlength=num_genres**2)
    return cells.reshape(num_genres, num_genres).astype(float)


def genre_scores(confusion: Confusion) -> dict[str, Floats]:
    """Scores of each genre.

    Args:
        confusion: shape ``[..., genres, genres]``, actual by predicted.

    Returns:
        ``support`` (tracks), ``precision``, ``recall`` and ``f1`` (0..1), each of shape ``[..., genres]``. A score
        whose denominator is zero is NaN: precision of a genre never predicted, recall and F1 of one without tracks.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "support": support,
            "precision": hits / predicted,
            "recall": hits / support,
            "f1": np.where(support > 0, 2 * hits / (support + predicted), np.nan),
        }


def accuracy(confusion: Confusion) -> Floats:
    """The share of tracks whose most probable genre is theirs, 0..1; NaN where there is no track."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: Confusion) -> Floats:
    """Mean recall over the genres that occur, 0..1; NaN where none does."""
    return _mean_over_occurring(genre_scores(confusion)["recall"])


def macro_f1(confusion: Confusion) -> Floats:
    """Mean F1 over the genres that occur, 0..1; NaN where none does."""
    return _mean_over_occurring(genre_scores(confusion)["f1"])


def majority_share(confusion: Confusion) -> Floats:
    """The accuracy of always answering the most frequent genre, 0..1."""
    return _ratio(confusion.sum(axis=-1).max(axis=-1), confusion.sum(axis=(-2, -1)))


def accuracy_over_majority(confusion: Confusion) -> Floats:
    """Accuracy minus the share of the most frequent genre, -1..1."""
    return accuracy(confusion) - majority_share(confusion)


def genre_f1(genre: int) -> Callable[[Confusion], Floats]:
    """The score of one genre, given by its class index."""
    return lambda confusion: genre_scores(confusion)["f1"][..., genre]


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)


def _mean_over_occurring(scores: Floats) -> Floats:
    occurring = ~np.isnan(scores)
    return _ratio(np.where(occurring, scores, 0).sum(axis=-1), occurring.sum(axis=-1).astype(float))


@dataclass(frozen=True)
class Estimate:
    """A score with its confidence interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of a split's tracks.

    Drawing tracks with replacement draws the confusion matrix's cells from a multinomial distribution, so one draw of
    matrices serves every score; ``scipy.stats.bootstrap`` would draw anew for each (percentile intervals, Efron,
    Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

    Attributes:
        resamples: how many.
        confidence: of the intervals, 0..1.
    """

    resamples: int
    confidence: float
    seed: int = 0

    def of(self, score: Callable[[Confusion], Floats], confusion: Confusion) -> Estimate:
        """A score of one model."""
        return self._estimate(score(confusion), score(self._draw(confusion)))

    def of_change(
        self, score: Callable[[Confusion], Floats], actual: Indices, new: Indices, old: Indices, num_genres: int
    ) -> Estimate:
        """How much a score differs between two models' answers to the same tracks: the new model's less the old one's.

        Args:
            score: of one model.
            actual, new, old: class indices ``[tracks]``: the truth, and each model's answers.
            num_genres: how many classes there are.
        """
        cells = np.bincount((actual * num_genres + new) * num_genres + old, minlength=num_genres**3)
        joint = cells.reshape((num_genres,) * 3).astype(float)

        def change(stack: Floats) -> Floats:
            return score(stack.sum(axis=-1)) - score(stack.sum(axis=-2))

        return self._estimate(change(joint), change(self._draw(joint)))

    def _draw(self, cells: Floats) -> Floats:
        tracks = int(cells.sum())
        if not tracks:
            return np.zeros((self.resamples, *cells.shape))
        draws = np.random.default_rng(self.seed).multinomial(tracks, cells.ravel() / tracks, self.resamples)
        return draws.reshape(self.resamples, *cells.shape).astype(float)

    def _estimate(self, value: Floats, draws: Floats) -> Estimate:
        defined = draws[~np.isnan(draws)]
        if np.isnan(value) or not len(defined):
            return Estimate(float(value), float("nan"), float("nan"))
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return Estimate(float(value), float(low), float(high))
