"""``tangent``: a kernel machine on what whole tracks are like.

A track is described by the second-moment matrix of its frames (:mod:`components.transform.statistics`). Such matrices
are no flat space; each is taken relative to the average track and mapped by the matrix logarithm, after which straight
distances mean something (log-Euclidean: Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 2007; as a tangent space for
classification: Barachant et al., Neurocomputing 112, 2013). A kernel machine (:mod:`components.trainer.kernel_machine`)
tells the genres apart. It is fitted in closed form, in seconds, and needs no validation split to stop by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.scoring.scores import Floats, Indices
from components.trainer.fitting import FAMILIARITY, PROBABILITIES, Fit, Task
from components.trainer.hyperparameters import TangentHyperparameters
from components.trainer.input_pipeline import labels_of
from components.trainer.kernel_machine import KernelMachine, Regression, fit_machine
from components.transform.statistics import FRAME, N_MOMENTS, N_PITCH_STATISTICS, N_STATISTICS

TRACK_STATISTICS = "track_statistics"

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


def fit_tangent(task: Task, chosen: TangentHyperparameters) -> Fit:
    """Fits the kernel machine to all training tracks.

    Args:
        task: what to fit to, with the feature ``track_statistics``.
        chosen: hyper-parameters.
    """
    labels = labels_of(task.train)
    space = TangentSpace(chosen.prior)
    space.build((None, N_STATISTICS))
    space.whiten.assign(_inverse_root(_mean_matrix(task.train)))
    weights = _weights(labels, chosen.balance if task.balance == "none" else 1.0)
    # On the disk, as a large catalogue's do not fit into memory.
    with TemporaryDirectory(dir=task.cache or None) as folder:
        vectors = np.memmap(f"{folder}/vectors", np.float32, "w+", shape=(len(labels), _N_VECTOR))
        _embed(space, task.train, vectors)
        center, factor = _scaling(vectors, chosen)
        space.center.assign(center)
        space.factor.assign(factor)
        _scale(vectors, center, factor)
        regression = Regression(
            vectors, labels, weights, task.groups(len(labels)), task.num_genres, chosen.gamma, chosen.ridge, task.seed
        )
        fitted = fit_machine(regression)
    log.info("a kernel machine of all %s training tracks, with %s values each", f"{len(labels):,}", f"{_N_VECTOR:,}")
    unseen = keras.ops.convert_to_numpy(keras.ops.softmax(fitted.left_out * _SHARPNESS))
    return Fit(_model(space, fitted.machine), {}, unseen=unseen)


def symmetric(upper: tf.Tensor) -> tf.Tensor:
    """Matrices ``[batch, 64, 64]`` from their upper triangles ``[batch, 2080]``."""
    place = np.zeros((FRAME, FRAME), np.int64)
    place[_ROWS, _COLUMNS] = place[_COLUMNS, _ROWS] = np.arange(N_MOMENTS)
    return tf.gather(upper, place, axis=1)


def _model(space: TangentSpace, machine: KernelMachine) -> keras.Model:
    statistics = keras.Input((N_STATISTICS,), name=TRACK_STATISTICS)
    scores, familiarity = machine(space(statistics))
    probabilities = keras.layers.Softmax()(scores * _SHARPNESS)
    return keras.Model({TRACK_STATISTICS: statistics}, {PROBABILITIES: probabilities, FAMILIARITY: familiarity})


def _batches(tracks: tf.data.Dataset) -> Iterator[npt.NDArray[np.float32]]:
    batches = tracks.map(lambda features, _: features[TRACK_STATISTICS]).batch(_EMBEDDED_TOGETHER)
    return iter(batches.as_numpy_iterator())


def _mean_matrix(tracks: tf.data.Dataset) -> Floats:
    total, count = np.zeros((FRAME, FRAME)), 0
    for statistics in _batches(tracks):
        total += symmetric(statistics[:, :N_MOMENTS]).numpy().sum(axis=0, dtype=np.float64)
        count += len(statistics)
    return total / count


def _embed(space: TangentSpace, tracks: tf.data.Dataset, vectors: npt.NDArray[np.float32]) -> None:
    start = 0
    for statistics in _batches(tracks):
        vectors[start : start + len(statistics)] = space(statistics)
        start += len(statistics)


def _inverse_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix.astype(np.float64))
    # A value of zero is a direction in which no track has anything: it stays out.
    # Single precision, in which the statistics come, cannot tell smaller ones from zero.
    roots = np.where(values > values.max() * 1e-6, 1 / np.sqrt(np.maximum(values, 1e-30)), 0)
    return (vectors * roots) @ vectors.T


def _scaling(vectors: npt.NDArray[np.float32], chosen: TangentHyperparameters) -> tuple[Floats, Floats]:
    """Center and factor of each value, so that the vectors vary by 1 in all, of which the pitches have their share."""
    center, deviation = _mean_and_deviation(vectors)
    deviation = np.where(deviation > 0, deviation, 1.0)
    moments, pitches = np.arange(_N_VECTOR) < N_MOMENTS, np.arange(_N_VECTOR) >= N_MOMENTS
    factor = np.where(moments, deviation**-chosen.deviation_power, 1 / deviation)
    for part, share in ((moments, 1 - chosen.pitch_share), (pitches, chosen.pitch_share)):
        factor[part] *= np.sqrt(share / max(((deviation * factor)[part] ** 2).sum(), 1e-30))
    return center, factor


def _mean_and_deviation(vectors: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    center = np.mean(vectors, axis=0, dtype=np.float64)
    squares = sum(((block - center) ** 2).sum(axis=0) for block in _blocks(vectors))
    return center, np.sqrt(squares / len(vectors))


def _scale(vectors: npt.NDArray[np.float32], center: Floats, factor: Floats) -> None:
    for block in _blocks(vectors):
        block[:] = (block - center) * factor


def _blocks(vectors: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Views that fit into memory."""
    return (vectors[start : start + _EMBEDDED_TOGETHER] for start in range(0, len(vectors), _EMBEDDED_TOGETHER))


def _weights(labels: Indices, balance: float) -> Floats:
    """A track's weight, 1 on average: the inverse of its genre's frequency to a power from 0 (none) to 1 (balanced)."""
    weights = np.bincount(labels)[labels] ** -balance
    return np.asarray(weights / weights.mean())
