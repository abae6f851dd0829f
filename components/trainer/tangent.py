"""``tangent``: a kernel machine on what whole tracks are like.

A track is described by the second-moment matrix of its frames (:mod:`components.transform.statistics`). Such matrices
are no flat space; each is taken relative to the average track and mapped by the matrix logarithm, after which straight
distances mean something (log-Euclidean: Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 2007; as a tangent space for
classification: Barachant et al., Neurocomputing 112, 2013). A least-squares support vector machine with a radial basis
function kernel (Suykens, Vandewalle, Neural Processing Letters 9, 1999) tells the genres apart. It is fitted in closed
form, in seconds, and needs no validation split to stop by.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.kernel_ridge import KernelRidge

from components.scoring.scores import Floats, Indices
from components.trainer.fitting import Fit, Task
from components.trainer.hyperparameters import TangentHyperparameters
from components.trainer.input_pipeline import labels_of
from components.transform.statistics import FRAME, N_MOMENTS, N_PITCH_STATISTICS, N_STATISTICS

TRACK_STATISTICS = "track_statistics"

MAX_VECTORS = 8192
"""Training tracks that the kernel holds; its cost grows with the square of them, and with the cube in fitting."""

_ROWS, _COLUMNS = np.triu_indices(FRAME)
# Off the diagonal a value stands for two of the matrix's.
_MULTIPLICITY = np.where(_ROWS == _COLUMNS, 1.0, np.sqrt(2.0))
_N_VECTOR = N_MOMENTS + N_PITCH_STATISTICS
# The scores are near 0 or 1; as logits they would say nothing. About what calibration finds on tracks not trained on.
_SHARPNESS = 6.0
_EMBEDDED_TOGETHER = 256
_SMALLEST = 1e-6

log = logging.getLogger("deepmusic.Trainer")


class TangentSpace(keras.layers.Layer):
    """Maps track statistics to vectors between which straight distances mean something.

    Weights: ``whiten`` ``[64, 64]``, the inverse root of the average track's matrix; and for each value of the vector a
    ``center`` and a ``factor``.
    """

    def __init__(self, prior: float, **kwargs: Any) -> None:
        """Makes the layer; ``prior`` counts so many frames of the average track into every track's matrix."""
        super().__init__(trainable=False, **kwargs)
        self._prior = prior

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the weights: at first, they change nothing."""
        del input_shape
        self.whiten = self.add_weight(shape=(FRAME, FRAME), initializer="identity", name="whiten")
        self.center = self.add_weight(shape=(_N_VECTOR,), initializer="zeros", name="center")
        self.factor = self.add_weight(shape=(_N_VECTOR,), initializer="ones", name="factor")

    def call(self, statistics: tf.Tensor) -> tf.Tensor:
        """From ``[batch, 2117]`` to ``[batch, 2116]``."""
        moments, count, pitches = tf.split(statistics, [N_MOMENTS, 1, N_PITCH_STATISTICS], axis=1)
        # Whitening takes the difference of large numbers: in single precision it would keep four digits.
        whiten, frames = tf.cast(self.whiten, tf.float64), tf.cast(count, tf.float64)[:, :, tf.newaxis]
        relative = whiten @ tf.cast(symmetric(moments), tf.float64) @ whiten
        average = tf.eye(FRAME, dtype=tf.float64)
        values, vectors = tf.linalg.eigh((frames * relative + self._prior * average) / (frames + self._prior))
        logarithm = tf.matmul(
            vectors * tf.math.log(tf.maximum(values, _SMALLEST))[:, tf.newaxis, :], vectors, transpose_b=True
        )
        flat = tf.gather(tf.reshape(logarithm, [-1, FRAME * FRAME]), _ROWS * FRAME + _COLUMNS, axis=1)
        vector = tf.concat([tf.cast(flat * _MULTIPLICITY, tf.float32), pitches], axis=1)
        return (vector - self.center) * self.factor


class KernelMachine(keras.layers.Layer):
    """One score a genre: a weighted sum of how near the training tracks are.

    Weights: ``vectors`` ``[tracks, values]`` and their ``squares`` ``[tracks]``, ``dual`` ``[tracks, genres]`` and
    ``bias`` ``[genres]``.
    """

    def __init__(self, num_vectors: int, num_genres: int, gamma: float, **kwargs: Any) -> None:
        """Makes the layer; nearness is ``exp(-gamma d^2)`` at the distance ``d``."""
        super().__init__(trainable=False, **kwargs)
        self._num_vectors, self._num_genres, self._gamma = num_vectors, num_genres, gamma

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the weights: at first, every score is 0."""
        values = input_shape[-1]
        self.vectors = self.add_weight(shape=(self._num_vectors, values), initializer="zeros", name="vectors")
        self.squares = self.add_weight(shape=(self._num_vectors,), initializer="zeros", name="squares")
        self.dual = self.add_weight(shape=(self._num_vectors, self._num_genres), initializer="zeros", name="dual")
        self.bias = self.add_weight(shape=(self._num_genres,), initializer="zeros", name="bias")

    def call(self, tracks: tf.Tensor) -> tf.Tensor:
        """From ``[batch, values]`` to ``[batch, genres]``."""
        squares = tf.reduce_sum(tracks**2, axis=1, keepdims=True) + self.squares
        distances = squares - 2 * tf.matmul(tracks, self.vectors, transpose_b=True)
        nearness = tf.exp(-self._gamma * tf.cast(tf.maximum(distances, 0), tf.float64))
        # Thousands of terms of either sign: in single precision their sum would depend on the size of the batch.
        return tf.cast(tf.matmul(nearness, tf.cast(self.dual, tf.float64)), tf.float32) + self.bias


def fit_tangent(task: Task, chosen: TangentHyperparameters) -> Fit:
    """Fits the kernel machine to the training tracks; up to ``MAX_VECTORS`` of them, the seed does not matter.

    Args:
        task: what to fit to, with the feature ``track_statistics``.
        chosen: hyper-parameters.
    """
    labels = labels_of(task.train)
    kept = spread_over_genres(labels, MAX_VECTORS, task.seed)
    statistics, labels = _collect(task.train, kept), labels[kept]
    model, space, machine = _build(len(labels), task.num_genres, chosen)
    space.whiten.assign(_inverse_root(symmetric(statistics[:, :N_MOMENTS]).numpy().mean(axis=0)))
    center, factor = _scaling(_embed(space, statistics), chosen)
    space.center.assign(center)
    space.factor.assign(factor)
    vectors = _embed(space, statistics)
    weights = _weights(labels, chosen.balance if task.balance == "none" else 1.0)
    truth = np.eye(task.num_genres)[labels]
    bias = np.average(truth, axis=0, weights=weights)
    ridge = KernelRidge(kernel="rbf", gamma=chosen.gamma, alpha=chosen.ridge)
    ridge.fit(vectors, truth - bias, sample_weight=weights)
    machine.vectors.assign(vectors)
    machine.squares.assign((vectors**2).sum(axis=1))
    machine.dual.assign(ridge.dual_coef_)
    machine.bias.assign(bias)
    log.info("a kernel over %s training tracks with %s values each", f"{len(labels):,}", f"{_N_VECTOR:,}")
    return Fit(model, {})


def symmetric(upper: tf.Tensor) -> tf.Tensor:
    """Matrices ``[batch, 64, 64]`` from their upper triangles ``[batch, 2080]``."""
    place = np.zeros((FRAME, FRAME), np.int64)
    place[_ROWS, _COLUMNS] = place[_COLUMNS, _ROWS] = np.arange(N_MOMENTS)
    return tf.gather(upper, place, axis=1)


def spread_over_genres(labels: Indices, most: int, seed: int) -> Indices:
    """Places of at most so many tracks, ascending: rare genres whole, the others cut to an even number at random."""
    rank = np.zeros(len(labels), np.int64)
    rng = np.random.default_rng(seed)
    for genre in np.unique(labels):
        own = labels == genre
        rank[own] = rng.permutation(own.sum())
    return np.sort(np.argsort(rank, kind="stable")[:most])


def _collect(tracks: tf.data.Dataset, kept: Indices) -> npt.NDArray[np.float32]:
    wanted = set(kept.tolist())
    return np.stack(
        [features[TRACK_STATISTICS].numpy() for place, (features, _) in enumerate(tracks) if place in wanted]
    )


def _build(
    num_vectors: int, num_genres: int, chosen: TangentHyperparameters
) -> tuple[keras.Model, TangentSpace, KernelMachine]:
    space, machine = TangentSpace(chosen.prior), KernelMachine(num_vectors, num_genres, chosen.gamma)
    statistics = keras.Input((N_STATISTICS,), name=TRACK_STATISTICS)
    scores = machine(space(statistics))
    probabilities = keras.layers.Softmax()(scores * _SHARPNESS)
    return keras.Model({TRACK_STATISTICS: statistics}, probabilities), space, machine


def _embed(space: TangentSpace, statistics: npt.NDArray[np.float32]) -> Floats:
    starts = range(0, len(statistics), _EMBEDDED_TOGETHER)
    parts = [space(statistics[start : start + _EMBEDDED_TOGETHER]).numpy() for start in starts]
    return np.concatenate(parts).astype(np.float64)


def _inverse_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix.astype(np.float64))
    # A value of zero is a direction in which no track has anything: it stays out.
    # Single precision, in which the statistics come, cannot tell smaller ones from zero.
    roots = np.where(values > values.max() * 1e-6, 1 / np.sqrt(np.maximum(values, 1e-30)), 0)
    return (vectors * roots) @ vectors.T


def _scaling(vectors: Floats, chosen: TangentHyperparameters) -> tuple[Floats, Floats]:
    """Center and factor of each value, so that the vectors vary by 1 in all, of which the pitches have their share."""
    center, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    moments, pitches = np.arange(_N_VECTOR) < N_MOMENTS, np.arange(_N_VECTOR) >= N_MOMENTS
    factor = np.where(moments, deviation**-chosen.deviation_power, 1 / deviation)
    for part, share in ((moments, 1 - chosen.pitch_share), (pitches, chosen.pitch_share)):
        factor[part] *= np.sqrt(share / max(((deviation * factor)[part] ** 2).sum(), 1e-30))
    return center, factor


def _weights(labels: Indices, balance: float) -> Floats:
    """A track's weight, 1 on average: the inverse of its genre's frequency to a power from 0 (none) to 1 (balanced)."""
    weights = np.bincount(labels)[labels] ** -balance
    return np.asarray(weights / weights.mean())
