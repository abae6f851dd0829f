"""The networks, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from components.trainer import ModelName
from components.transform.preprocessing import MAX_SEGMENTS
from sources.track import N_COEFFICIENTS


@dataclass(frozen=True)
class ModelDefinition:
    """A network and what it reads.

    Attributes:
        inputs: names of the transformed features it takes.
        build: from the number of genres to an uncompiled Keras model over a dictionary of these inputs, that answers
            with a probability a genre.
    """

    inputs: tuple[str, ...]
    build: Callable[[int], keras.Model]


def c1m1(num_genres: int) -> keras.Model:
    """The seed's Conv1D network on timbre (Buchmüller, Gerloff, 2020): 297,528 parameters for 8 genres."""
    timbre = keras.Input((MAX_SEGMENTS, N_COEFFICIENTS), name="timbre")
    x = timbre
    for filters, padding in ((48, "valid"), (64, "same"), (64, "same")):
        x = keras.layers.Conv1D(filters, 5, padding=padding, activation="relu")(x)
        x = keras.layers.MaxPooling1D(2)(x)
        x = keras.layers.Dropout(0.25)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.25)(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    probabilities = keras.layers.Dense(num_genres, activation="softmax")(x)
    return keras.Model({"timbre": timbre}, probabilities, name="c1m1")


MODELS: dict[ModelName, ModelDefinition] = {"c1m1": ModelDefinition(inputs=("timbre",), build=c1m1)}
