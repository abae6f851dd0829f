"""How a model is fitted to tracks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.scoring.scores import Floats, Indices
from components.trainer.hyperparameters import Balance, NetworkHyperparameters
from components.trainer.input_pipeline import balanced, labels_of, shuffled
from components.trainer.warm_start import Start
from deepmusic_genre.errors import PipelineInputError

log = logging.getLogger("deepmusic.Trainer")

PROBABILITIES = "probabilities"
FAMILIARITY = "familiarity"
"""Outputs of a model, where it has several: 0..1, how near the training tracks are."""


@dataclass(frozen=True)
class Task:
    """What a model is fitted to.

    Attributes:
        train, validation: one element a track: the features by name, and the class index.
        num_genres: how many classes there are.
        balance: what is done about rare genres.
        seed: of all random draws.
        cache: folder for temporary files.
        callbacks: told of each epoch, where there are epochs.
        artists: of the training tracks; a text is empty where the artist is unknown, and there may be none of them.
        start: where a network begins; None for random weights.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    num_genres: int
    balance: Balance
    seed: int
    cache: str
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    artists: Sequence[str] = ()
    start: Start | None = None

    def genre_counts(self) -> list[int]:
        """Training tracks by class index."""
        return np.bincount(labels_of(self.train), minlength=self.num_genres).tolist()

    def groups(self, count: int) -> Indices:
        """A number for each of so many training tracks, the same for those of one artist."""
        names = self.artists or [""] * count
        return np.unique([name or f"\0{place}" for place, name in enumerate(names)], return_inverse=True)[1]


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        model: from a dictionary of transformed features to probabilities ``[batch, genres]``, or to a dictionary of
            these and of the familiarity ``[batch]``.
        history: values by epoch, empty where there are no epochs.
        unseen: probabilities ``[training tracks, genres]`` that the tracks would get had their artists been left out;
            None where that would take many trainings.
        start: where it began; None for random weights.
    """

    model: keras.Model
    history: dict[str, list[float]]
    start: Start | None = None
    unseen: Floats | None = None


def class_weights(counts: list[int]) -> dict[int, float]:
    """Weights under which every genre counts alike and a track counts 1 on average; see scikit-learn's ``balanced``."""
    present = sum(count > 0 for count in counts)
    return {genre: sum(counts) / (present * count) if count else 0.0 for genre, count in enumerate(counts)}


def fit_network(build: Callable[[int, float], keras.Model], task: Task, chosen: NetworkHyperparameters) -> Fit:
    """Trains a network with Adam on the sparse cross-entropy until the validation accuracy stops rising.

    Args:
        build: from the number of genres and the dropout to an uncompiled network.
        task: what to fit to.
        chosen: hyper-parameters.

    Raises:
        PipelineInputError: the loss became NaN or infinite.
    """
    model = build(task.num_genres, chosen.dropout)
    start = _begin(model, task.start)
    model.compile(keras.optimizers.Adam(chosen.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    counts = task.genre_counts()
    even = task.balance == "balanced_batches"
    train = balanced(task.train, counts, task.seed, task.cache) if even else shuffled(task.train, task.seed)
    history = model.fit(
        train.batch(chosen.batch_size).prefetch(tf.data.AUTOTUNE),
        steps_per_epoch=math.ceil(sum(counts) / chosen.batch_size) if even else None,
        validation_data=task.validation.batch(chosen.batch_size).prefetch(tf.data.AUTOTUNE),
        epochs=chosen.epochs,
        class_weight=class_weights(counts) if task.balance == "class_weights" else None,
        callbacks=[*_stopping(chosen), *task.callbacks],
        verbose=0,
    ).history
    _require_finite(history)
    return Fit(model, {name: [float(value) for value in values] for name, values in history.items()}, start)


class EpochLog(keras.callbacks.Callback):
    """One line an epoch."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Says how large the network is."""
        del logs
        log.info("%s parameters", f"{self.model.count_params():,}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Says how far it is."""
        log.info(
            "epoch %3d  loss %.3f  accuracy %.3f  validation loss %.3f  validation accuracy %.3f",
            epoch + 1,
            *((logs or {})[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")),
        )


def _begin(model: keras.Model, start: Start | None) -> Start | None:
    """Sets the weights to begin with, and answers with where they are from; None if the network's are others."""
    if start is None:
        return None
    if [weight.shape for weight in model.weights] != [weight.shape for weight in start.weights]:
        log.info("starts cold: the layers of the latest blessed one are not those of this network")
        return None
    model.set_weights(start.weights)
    log.info("starts warm, from %s", start.origin)
    return start


def _stopping(chosen: NetworkHyperparameters) -> list[keras.callbacks.Callback]:
    return [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.EarlyStopping("val_accuracy", mode="max", min_delta=chosen.min_delta, patience=chosen.patience),
    ]


def _require_finite(history: dict[str, Any]) -> None:
    losses = np.array(history["loss"] + history.get("val_loss", []))
    if not np.isfinite(losses).all():
        raise PipelineInputError(
            f"Training diverged in epoch {len(history['loss'])}: the loss became NaN or infinite. Nothing was exported;"
            " lower the learning rate."
        )
