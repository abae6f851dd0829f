"""The original project's networks (Buchmüller, Gerloff, 2020)."""

from __future__ import annotations

import keras

from components.transform.preprocessing import MAX_SEGMENTS
from deepmusic_genre.tracks.track import N_COEFFICIENTS

_FILTERS = ((48, "valid"), (64, "same"), (64, "same"))
_KERNEL = 5
_UNITS = 64


def conv1d_network(feature: str, num_genres: int, dropout: float) -> keras.Model:
    """``c1m1`` on timbre and ``c1m2`` on pitches: 297,528 parameters for 8 genres.

    Args:
        feature: the name of the transformed feature, ``[batch, 512, 12]``.
        num_genres: how many classes there are.
        dropout: share of the values that are dropped in training, 0..1.

    Returns:
        An uncompiled model from a dictionary with the feature to probabilities ``[batch, num_genres]``.
    """
    segments = keras.Input((MAX_SEGMENTS, N_COEFFICIENTS), name=feature)
    x = segments
    for filters, padding in _FILTERS:
        x = keras.layers.Conv1D(filters, _KERNEL, padding=padding, activation="relu")(x)
        x = keras.layers.MaxPooling1D(2)(x)
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model({feature: segments}, _head(x, num_genres, dropout))


def conv2d_network(num_genres: int, dropout: float) -> keras.Model:
    """``c2m1`` on timbre and pitches as the two channels of a picture: 440,408 parameters for 8 genres.

    Args and result as for :func:`conv1d_network`, over both features.
    """
    inputs = {name: keras.Input((MAX_SEGMENTS, N_COEFFICIENTS), name=name) for name in ("timbre", "pitches")}
    x = keras.ops.stack(list(inputs.values()), axis=-1)
    for filters, padding in _FILTERS:
        x = keras.layers.Conv2D(filters, (_KERNEL, _KERNEL), padding=padding, activation="relu")(x)
        x = keras.layers.MaxPooling2D((2, 2))(x)
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, _head(x, num_genres, dropout))


def _head(x: keras.KerasTensor, num_genres: int, dropout: float) -> keras.KerasTensor:
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Dense(_UNITS, activation="relu")(x)
    return keras.layers.Dense(num_genres, activation="softmax")(x)
