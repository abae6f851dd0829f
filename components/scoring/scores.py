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

Score = Callable[[Confusion], Floats]
"""From one matrix or a stack of them to one score or as many."""

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


def accuracy_over_always(genre: int) -> Score:
    """Accuracy minus that of always answering one genre, given by its class index; -1..1."""
    return lambda confusion: (
        accuracy(confusion) - _ratio(confusion[..., genre, :].sum(axis=-1), confusion.sum(axis=(-2, -1)))
    )


def genre_f1(genre: int) -> Score:
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
    """Resamples of a split's tracks: percentile intervals (Efron, Tibshirani, An Introduction to the Bootstrap, 1993).

    Drawing tracks with replacement draws the cells of the confusion matrix from a multinomial distribution, so that
    every score of a stack of matrices is computed at once; ``scipy.stats.bootstrap`` would go through the tracks.

    Attributes:
        resamples: how many.
        confidence: of the intervals, 0..1.
    """

    resamples: int
    confidence: float
    seed: int = 0

    def of(self, score: Score, confusion: Confusion) -> Estimate:
        """A score of one model; resamples in which it is undefined do not count."""
        draws = score(self._draw(confusion.ravel()).reshape(-1, *confusion.shape))
        return _interval(score(confusion), draws[~np.isnan(draws)], self.confidence)

    def paired(self, actual: Indices, new: Indices, old: Indices, num_genres: int) -> PairedResamples:
        """Resamples of two models' answers to the same tracks.

        Args:
            actual, new, old: class indices ``[tracks]``: the truth, and each model's answers.
            num_genres: how many classes there are.
        """
        code = (actual * num_genres + new) * num_genres + old
        cells, counts = np.unique(code, return_counts=True)
        counts_and_draws = np.concatenate([counts[np.newaxis].astype(float), self._draw(counts.astype(float))])
        truth, news, olds = cells // num_genres**2, cells // num_genres % num_genres, cells % num_genres

        def confusions(answers: Indices) -> Floats:
            place = np.zeros((len(cells), num_genres**2))
            place[np.arange(len(cells)), truth * num_genres + answers] = 1
            return (counts_and_draws @ place).reshape(-1, num_genres, num_genres)

        return PairedResamples(confusions(news), confusions(olds), self.confidence)

    def _draw(self, cells: Floats) -> Floats:
        tracks = int(cells.sum())
        if not tracks:
            return np.zeros((self.resamples, len(cells)))
        return np.random.default_rng(self.seed).multinomial(tracks, cells / tracks, self.resamples).astype(float)


@dataclass(frozen=True)
class PairedResamples:
    """Two models' confusion matrices: first those of the tracks themselves, then those of the resamples.

    Attributes:
        new, old: shape ``[1 + resamples, genres, genres]``.
        confidence: of the intervals, 0..1.
    """

    new: Floats
    old: Floats
    confidence: float

    def change(self, score: Score, comparisons: int = 1) -> Estimate:
        """How much a score differs: the new model's less the old one's.

        A resample that lacks a genre says nothing about it, and is counted as no difference.

        Args:
            score: of one model.
            comparisons: how many differences are looked at together. The interval is widened so that with the given
                confidence none of them errs (Bonferroni).
        """
        differences = score(self.new) - score(self.old)
        draws = np.nan_to_num(differences[1:])
        return _interval(differences[0], draws, 1 - (1 - self.confidence) / comparisons)


def _interval(value: Floats, draws: Floats, confidence: float) -> Estimate:
    if np.isnan(value) or not len(draws):
        return Estimate(float(value), float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high))
