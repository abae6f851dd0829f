"""A kernel machine of a size that does not depend on the number of training tracks.

A least-squares support vector machine with a radial basis function kernel (Suykens, Vandewalle, Neural Processing
Letters 9, 1999), in the approximation of Nyström (Williams, Seeger, NIPS 2000) on centres found by k-means (Zhang,
Tsang, Kwok, ICML 2008), among the principal components of the tracks' vectors. All training tracks count in the fit; it
is in closed form, and so are the answers that a track would get had its artist been left out (Pahikkala et al., Fast
n-Fold Cross-Validation for Regularized Least-Squares, SCAI 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from components.scoring.scores import Floats, Indices
from components.trainer.vectors import Vectors

COMPONENTS = 256
CENTERS = 512
"""At most so many principal components, and centres; more of either made no difference beyond noise."""

_SAMPLE = 4096
"""Training tracks among which components and centres are looked for."""

_TOGETHER = 1024
_QUANTILES = 101
_SMALLEST_SHARE = 1e-9


class KernelMachine(keras.layers.Layer):
    """From a track's vector to a score a genre, and to how near the training tracks are.

    Weights: ``mean`` ``[values]`` and ``axes`` ``[values, components]``; ``centers`` ``[centers, components]``;
    ``dual`` ``[centers, genres]`` and ``bias`` ``[genres]``; ``distances`` ``[101]``, quantiles of how far training
    tracks are from their mean.
    """

    def __init__(self, shape: MachineShape, gamma: float, familiar_by: slice, **kwargs: Any) -> None:
        """Makes the layer; a centre at the distance ``d`` counts ``exp(-gamma d^2)``, ``familiar_by`` as fitted."""
        super().__init__(trainable=False, **kwargs)
        self._shape, self._gamma, self._familiar_by = shape, gamma, familiar_by

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the weights: at first, every score is 0."""
        values, shape = input_shape[-1], self._shape
        self.mean = self.add_weight(shape=(values,), initializer="zeros", name="mean")
        self.axes = self.add_weight(shape=(values, shape.components), initializer="zeros", name="axes")
        self.centers = self.add_weight(shape=(shape.centers, shape.components), initializer="zeros", name="centers")
        self.dual = self.add_weight(shape=(shape.centers, shape.genres), initializer="zeros", name="dual")
        self.bias = self.add_weight(shape=(shape.genres,), initializer="zeros", name="bias")
        self.distances = self.add_weight(shape=(_QUANTILES,), initializer="zeros", name="distances")

    def call(self, tracks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """From ``[batch, values]`` to scores ``[batch, genres]`` and familiarity ``[batch]``.

        Familiarity is the share of training tracks that are farther from the mean of all than this one is: 0..1. Of
        what was tried (nearest tracks, Mahalanobis distances, what the components leave out), this alone told noise,
        tones, clicks and speech from music, on tracks of two analysers.
        """
        centered = tf.cast(tracks - self.mean, tf.float64)
        projected = tf.matmul(centered, tf.cast(self.axes, tf.float64))
        # In double precision, the answer to a track does not depend on what else is in the batch.
        nearness = tf.exp(-self._gamma * _distances(projected, self.centers))
        scores = tf.cast(tf.matmul(nearness, tf.cast(self.dual, tf.float64)), tf.float32) + self.bias
        distance = tf.cast(tf.reduce_sum(centered[:, self._familiar_by] ** 2, axis=1), tf.float32)
        nearer = tf.searchsorted(tf.convert_to_tensor(self.distances), distance, side="left")
        return scores, 1 - tf.cast(nearer, tf.float32) / _QUANTILES


def _distances(projected: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Squared ones, ``[batch, others]``."""
    others = tf.cast(others, tf.float64)
    products = tf.matmul(projected, others, transpose_b=True)
    squares = tf.reduce_sum(projected**2, axis=1, keepdims=True) + tf.reduce_sum(others**2, axis=1)
    return tf.maximum(squares - 2 * products, 0)


@dataclass(frozen=True)
class MachineShape:
    """How large a :class:`KernelMachine` is."""

    components: int
    centers: int
    genres: int


@dataclass(frozen=True)
class Regression:
    """What a kernel machine is fitted to.

    Attributes:
        blocks: gives the tracks' vectors in order, ``[some, values]`` each, as often as it is called.
        labels: class indices ``[tracks]``.
        weights: of each track, 1 on average.
        groups: artists as numbers ``[tracks]``.
        num_genres: how many classes there are.
        gamma: the kernel's.
        ridge: amount of smoothing.
        seed: of k-means.
        familiar_by: the values of a vector that familiarity is told by.
    """

    blocks: Callable[[], Iterator[Vectors]]
    labels: Indices
    weights: Floats
    groups: Indices
    num_genres: int
    gamma: float
    ridge: float
    seed: int
    familiar_by: slice


@dataclass(frozen=True)
class FittedMachine:
    """A kernel machine and what it says of its training tracks.

    Attributes:
        machine: the layer.
        left_out: scores ``[tracks, genres]`` that each track would get if no track of its artist had been there.
    """

    machine: KernelMachine
    left_out: Floats


def fit_machine(task: Regression) -> FittedMachine:
    """Fits a kernel machine to all tracks; of each, it keeps a kilobyte in memory."""
    tracks = len(task.labels)
    sample = np.unique(np.linspace(0, tracks - 1, min(tracks, _SAMPLE)).astype(np.int64))
    pca = _principal_components(_picked(task.blocks(), sample), task.seed)
    projected, distances = _project(task, pca)
    few = projected[sample].astype(np.float64)
    centers = few if tracks <= CENTERS else _centers(few, task.seed)
    root = _inverse_root_of_kernel(centers, task.gamma)
    components, values = pca.components_.shape
    machine = KernelMachine(MachineShape(components, len(centers), task.num_genres), task.gamma, task.familiar_by)
    machine.build((None, values))
    truth = np.eye(task.num_genres)[task.labels]
    bias = np.average(truth, axis=0, weights=task.weights)
    features = _Features(task, projected, centers, root)
    gram, moments = np.eye(root.shape[1]) * task.ridge, np.zeros((root.shape[1], task.num_genres))
    for rows in _blocks(tracks):
        part, weights = features.of(rows), task.weights[rows, np.newaxis]
        gram += part.T @ (weights * part)
        moments += part.T @ (weights * (truth[rows] - bias))
    coefficients = np.linalg.solve(gram, moments)
    machine.mean.assign(pca.mean_)
    machine.axes.assign(pca.components_.T)
    machine.centers.assign(centers)
    machine.dual.assign(root @ coefficients)
    machine.bias.assign(bias)
    machine.distances.assign(np.quantile(distances, np.linspace(0, 1, _QUANTILES)))
    return FittedMachine(machine, bias + _left_out(features, truth - bias, gram, moments))


def _picked(blocks: Iterator[Vectors], rows: Indices) -> Floats:
    """Some tracks' vectors; rows ascend."""
    picked, start = np.empty((0, 0)), 0
    for block in blocks:
        if not start:
            picked = np.empty((len(rows), block.shape[1]))
        first, last = np.searchsorted(rows, [start, start + len(block)])
        picked[first:last] = block[rows[first:last] - start]
        start += len(block)
    return picked


def _principal_components(vectors: Floats, seed: int) -> PCA:
    """Overwrites the vectors."""
    components = max(1, min(COMPONENTS, len(vectors) - 1, vectors.shape[1]))
    with np.errstate(invalid="ignore"):  # Of equal tracks, a component explains no share.
        return PCA(components, copy=False, random_state=seed).fit(vectors)


def _project(task: Regression, pca: PCA) -> tuple[Vectors, Floats]:
    """Each track's components ``[tracks, components]``, and its squared distance from the mean ``[tracks]``."""
    tracks = len(task.labels)
    projected, distances = np.empty((tracks, len(pca.components_)), np.float32), np.empty(tracks)
    start = 0
    for block in task.blocks():
        rows = slice(start, start + len(block))
        centered = block - pca.mean_
        projected[rows] = centered @ pca.components_.T
        distances[rows] = (centered[:, task.familiar_by] ** 2).sum(axis=1)
        start += len(block)
    return projected, distances


def _centers(projected: Floats, seed: int) -> Floats:
    means = KMeans(CENTERS, n_init=1, max_iter=20, random_state=seed, algorithm="lloyd").fit(projected)
    return np.asarray(means.cluster_centers_)


def _inverse_root_of_kernel(centers: Floats, gamma: float) -> Floats:
    """From the kernel of a track with the centres to features whose products are the approximate kernel."""
    values, vectors = np.linalg.eigh(np.exp(-gamma * _squared_distances(centers, centers)))
    kept = values > values.max() * _SMALLEST_SHARE
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


class _Features:
    """Nyström's features of training tracks, made anew whenever they are asked for."""

    def __init__(self, task: Regression, projected: Vectors, centers: Floats, root: Floats) -> None:
        self.task = task
        self._projected, self._centers, self._root = projected, centers, root

    def of(self, rows: Indices) -> Floats:
        """Features ``[rows, features]``."""
        projected = self._projected[rows].astype(np.float64)
        return np.asarray(np.exp(-self.task.gamma * _squared_distances(projected, self._centers)) @ self._root)


def _left_out(features: _Features, truth: Floats, gram: Floats, moments: Floats) -> Floats:
    """Scores, less the bias, of each track by a fit without its group: the normal equations less the group's part."""
    task = features.task
    scores = np.empty_like(truth)
    inverse, coefficients = np.linalg.inv(gram), np.linalg.solve(gram, moments)
    for groups in _together(task.groups):
        rows = np.concatenate(groups)
        block, weights = features.of(rows), task.weights[rows, np.newaxis]
        residuals, shared = truth[rows] - block @ coefficients, block @ inverse
        ends = np.cumsum([len(group) for group in groups])
        for group, end in zip(groups, ends, strict=True):
            part = slice(end - len(group), end)
            own, weighted = block[part], weights[part] * block[part]
            if len(group) > own.shape[1]:
                left = np.linalg.solve(gram - own.T @ weighted, moments - weighted.T @ truth[group])
                scores[group] = own @ left
            else:
                # The same by Woodbury's identity, of the size of the group.
                hat = shared[part] @ weighted.T
                scores[group] = truth[group] - np.linalg.solve(np.eye(len(group)) - hat, residuals[part])
    return scores


def _together(groups: Indices) -> Iterator[list[Indices]]:
    """The places of each group's tracks, so many groups at a time that their features fit into memory."""
    order = np.argsort(groups, kind="stable")
    together: list[Indices] = []
    for group in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if together and sum(map(len, together)) + len(group) > _TOGETHER:
            yield together
            together = []
        together.append(group)
    yield together


def _blocks(tracks: int) -> Iterator[Indices]:
    for start in range(0, tracks, _TOGETHER):
        yield np.arange(start, min(start + _TOGETHER, tracks))


def _squared_distances(one: Floats, other: Floats) -> Floats:
    products = (one**2).sum(axis=1)[:, np.newaxis] - 2 * one @ other.T + (other**2).sum(axis=1)
    return np.asarray(np.maximum(products, 0))
