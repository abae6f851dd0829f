"""``tangent``: a kernel machine on what whole tracks are like.

A track is described by the second-moment matrix of its frames (:mod:`components.transform.statistics`). Such matrices
are no flat space; each is taken relative to the average track and mapped by the matrix logarithm, after which straight
distances mean something (log-Euclidean: Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 2007; as a tangent space for
classification: Barachant et al., Neurocomputing 112, 2013). A kernel machine (:mod:`components.trainer.kernel_machine`)
tells the genres apart. It is fitted in closed form, in seconds, and needs no validation split to stop by.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from components.scoring.scores import Floats
from components.trainer.fitting import Fit, Task
from components.trainer.hyperparameters import TangentHyperparameters
from components.trainer.space import Scaling, Space, batches_of, fit_in_spaces
from components.trainer.vectors import StoredVectors
from components.transform.statistics import FRAME, N_MOMENTS, N_PITCH_STATISTICS, N_STATISTICS

TRACK_STATISTICS = "track_statistics"

_ROWS, _COLUMNS = np.triu_indices(FRAME)
# Off the diagonal a value stands for two of the matrix's.
_MULTIPLICITY = np.where(_ROWS == _COLUMNS, 1.0, np.sqrt(2.0))
_N_VECTOR = N_MOMENTS + N_PITCH_STATISTICS
_SMALLEST = 1e-6


class TangentSpace(Space):
    """Maps track statistics to vectors between which straight distances mean something.

    Weights: ``whiten`` ``[64, 64]``, the inverse root of the average track's matrix; and for each value of the vector a
    ``center`` and a ``factor``.
    """

    feature = TRACK_STATISTICS
    size = N_STATISTICS

    def __init__(self, prior: float, **kwargs: Any) -> None:
        """Makes the layer; ``prior`` counts so many frames of the average track into every track's matrix."""
        super().__init__(_N_VECTOR, **kwargs)
        self._prior = prior

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the weights: at first, they change nothing."""
        self.whiten = self.add_weight(shape=(FRAME, FRAME), initializer="identity", name="whiten")
        super().build(input_shape)

    def vector(self, tracks: tf.Tensor) -> tf.Tensor:
        """From ``[batch, 2117]`` to ``[batch, 2116]``."""
        moments, count, pitches = tf.split(tracks, [N_MOMENTS, 1, N_PITCH_STATISTICS], axis=1)
        # Whitening takes the difference of large numbers: in single precision it would keep four digits.
        whiten, frames = tf.cast(self.whiten, tf.float64), tf.cast(count, tf.float64)[:, :, tf.newaxis]
        relative = whiten @ tf.cast(symmetric(moments), tf.float64) @ whiten
        average = tf.eye(FRAME, dtype=tf.float64)
        values, vectors = tf.linalg.eigh((frames * relative + self._prior * average) / (frames + self._prior))
        logarithm = tf.matmul(
            vectors * tf.math.log(tf.maximum(values, _SMALLEST))[:, tf.newaxis, :], vectors, transpose_b=True
        )
        flat = tf.gather(tf.reshape(logarithm, [-1, FRAME * FRAME]), _ROWS * FRAME + _COLUMNS, axis=1)
        return tf.concat([tf.cast(flat * _MULTIPLICITY, tf.float32), pitches], axis=1)


def fit_tangent(task: Task, chosen: TangentHyperparameters) -> Fit:
    """Fits the kernel machine to all training tracks.

    Args:
        task: what to fit to, with the feature ``track_statistics``.
        chosen: hyper-parameters.
    """
    return fit_in_spaces([tangent_space(task, chosen)], task, chosen)


def tangent_space(task: Task, chosen: TangentHyperparameters) -> tuple[TangentSpace, Scaling]:
    """The space around the average training track, and its scaling; arguments as of :func:`fit_tangent`."""
    space = TangentSpace(chosen.prior)
    space.build((None, N_STATISTICS))
    space.whiten.assign(_inverse_root(_mean_matrix(task.train)))
    return space, partial(_scaling, chosen)


def symmetric(upper: tf.Tensor) -> tf.Tensor:
    """Matrices ``[batch, 64, 64]`` from their upper triangles ``[batch, 2080]``."""
    place = np.zeros((FRAME, FRAME), np.int64)
    place[_ROWS, _COLUMNS] = place[_COLUMNS, _ROWS] = np.arange(N_MOMENTS)
    return tf.gather(upper, place, axis=1)


def _mean_matrix(tracks: tf.data.Dataset) -> Floats:
    total, count = np.zeros((FRAME, FRAME)), 0
    for statistics in batches_of(tracks, TRACK_STATISTICS):
        total += symmetric(statistics[:, :N_MOMENTS]).numpy().sum(axis=0, dtype=np.float64)
        count += len(statistics)
    return total / count


def _inverse_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix.astype(np.float64))
    # A value of zero is a direction in which no track has anything: it stays out.
    # Single precision, in which the statistics come, cannot tell smaller ones from zero.
    roots = np.where(values > values.max() * 1e-6, 1 / np.sqrt(np.maximum(values, 1e-30)), 0)
    return (vectors * roots) @ vectors.T


def _scaling(chosen: TangentHyperparameters, vectors: StoredVectors) -> tuple[Floats, Floats]:
    """Center and factor of each value, so that the vectors vary by 1 in all, of which the pitches have their share."""
    center, deviation = vectors.mean_and_deviation()
    deviation = np.where(deviation > 0, deviation, 1.0)
    moments, pitches = np.arange(_N_VECTOR) < N_MOMENTS, np.arange(_N_VECTOR) >= N_MOMENTS
    factor = np.where(moments, deviation**-chosen.deviation_power, 1 / deviation)
    for part, share in ((moments, 1 - chosen.pitch_share), (pitches, chosen.pitch_share)):
        factor[part] *= np.sqrt(share / max(((deviation * factor)[part] ** 2).sum(), 1e-30))
    return center, factor
