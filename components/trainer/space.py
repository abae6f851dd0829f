"""From transformed features to vectors between which straight distances mean something, and to a model of these."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
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
from components.trainer.vectors import StoredVectors, Vectors

# The scores are near 0 or 1; as logits they would say nothing. About what calibration finds on tracks not trained on.
_SHARPNESS = 6.0
_EMBEDDED_TOGETHER = 256

log = logging.getLogger("deepmusic.Trainer")


class Space(keras.layers.Layer):
    """Maps a feature to scaled vectors.

    Weights: for each value of the vector a ``center`` and a ``factor``.

    Attributes:
        feature: the transformed feature's name.
        size: its values.
        values: those of a vector.
    """

    feature: str
    size: int

    def __init__(self, values: int, **kwargs: Any) -> None:
        """Makes the layer; ``values`` are those of a vector."""
        super().__init__(trainable=False, **kwargs)
        self.values = values

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the weights: at first, they change nothing."""
        del input_shape
        self.center = self.add_weight(shape=(self.values,), initializer="zeros", name="center")
        self.factor = self.add_weight(shape=(self.values,), initializer="ones", name="factor")

    def call(self, tracks: tf.Tensor) -> tf.Tensor:
        """From ``[batch, size]`` to ``[batch, values]``."""
        return (self.vector(tracks) - self.center) * self.factor

    def vector(self, tracks: tf.Tensor) -> tf.Tensor:
        """The vectors before they are scaled."""
        raise NotImplementedError("a space says how its feature becomes vectors")


Scaling = Callable[[StoredVectors], tuple[Floats, Floats]]
"""From vectors to center and factor of each value."""


def fit_in_spaces(spaces: Sequence[tuple[Space, Scaling]], task: Task, chosen: TangentHyperparameters) -> Fit:
    """Fits a kernel machine to all training tracks.

    Args:
        spaces: with weights, of which center and factor are set here to what the scaling says. Of several, a track's
            vectors are put together, so that the kernel is the product of theirs, and the last tells how familiar a
            track is.
        task: what to fit to, with the spaces' features.
        chosen: hyper-parameters.
    """
    labels = labels_of(task.train)
    weights = _weights(labels, chosen.balance if task.balance == "none" else 1.0)
    with TemporaryDirectory(dir=task.cache or None) as folder:
        scaled = [_scaled(space, scaling, task.train, Path(folder)) for space, scaling in spaces]
        regression = Regression(
            partial(_side_by_side, scaled),
            *(labels, weights, task.groups(len(labels)), task.num_genres),
            *(chosen.gamma, chosen.ridge, task.seed),
            familiar_by=slice(-spaces[-1][0].values, None),
        )
        fitted = fit_machine(regression)
    values = sum(space.values for space, _ in spaces)
    log.info("a kernel machine of all %s training tracks, with %s values each", f"{len(labels):,}", f"{values:,}")
    unseen = keras.ops.convert_to_numpy(keras.ops.softmax(fitted.left_out * _SHARPNESS))
    return Fit(_model([space for space, _ in spaces], fitted.machine), {}, unseen=unseen)


def batches_of(tracks: tf.data.Dataset, feature: str) -> Iterator[npt.NDArray[np.float32]]:
    """A feature of tracks, ``[batch, values]`` each."""
    return iter(tracks.map(lambda features, _: features[feature]).batch(_EMBEDDED_TOGETHER).as_numpy_iterator())


def _model(spaces: Sequence[Space], machine: KernelMachine) -> keras.Model:
    features = {space.feature: keras.Input((space.size,), name=space.feature) for space in spaces}
    vectors = [space(features[space.feature]) for space in spaces]
    scores, familiarity = machine(keras.ops.concatenate(vectors, axis=1))
    probabilities = keras.layers.Softmax()(scores * _SHARPNESS)
    return keras.Model(features, {PROBABILITIES: probabilities, FAMILIARITY: familiarity})


def _scaled(space: Space, scaling: Scaling, tracks: tf.data.Dataset, folder: Path) -> StoredVectors:
    """Sets a space's center and factor, and writes the tracks' scaled vectors."""
    found = StoredVectors(folder / f"{space.feature}.found", space.values)
    found.write(space(batch) for batch in batches_of(tracks, space.feature))
    center, factor = scaling(found)
    space.center.assign(center)
    space.factor.assign(factor)
    scaled = StoredVectors(folder / space.feature, space.values)
    scaled.write((block - center) * factor for block in found.blocks())
    found.path.unlink()
    return scaled


def _side_by_side(parts: Sequence[StoredVectors]) -> Iterator[Vectors]:
    for blocks in zip(*(part.blocks() for part in parts), strict=True):
        yield np.concatenate(blocks, axis=1)


def _weights(labels: Indices, balance: float) -> Floats:
    """A track's weight, 1 on average: the inverse of its genre's frequency to a power from 0 (none) to 1 (balanced)."""
    weights = np.bincount(labels)[labels] ** -balance
    return np.asarray(weights / weights.mean())
