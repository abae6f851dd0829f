"""The preprocessing graph, in training and in serving the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.statistics import track_statistics
from deepmusic_genre.tracks.track import EAR_FEATURE, N_COEFFICIENTS, N_EAR, SEGMENT_FEATURES

MAX_SEGMENTS = 512
"""Segments of a track that a network reads, as in the original project."""

MAX_STATISTICS_SEGMENTS = 2048
"""Segments of a track that its statistics are made of: eight minutes of music."""

GENRE_INDEX = "genre_index"


def preprocessing_fn(inputs: Mapping[str, Any], custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Turns raw features into model inputs.

    Args:
        inputs: the schema's features; one ragged float ``[batch, segments]`` a coefficient, ``genre`` ``[batch, 1]``.
        custom_config: ``genres``, the genre list.

    Returns:
        ``timbre`` and ``pitches``, float32 ``[batch, 512, 12]``: the first 512 segments, each coefficient standardised
        with its mean and deviation over the segments of the training split, zeros after the last segment.
        ``track_statistics``, float32 ``[batch, 2117]``: of up to 2,048 segments, see
        :func:`components.transform.statistics.track_statistics`.
        ``ear``, float32 ``[batch, 400]``: as it came, NaN for a track without it.
        ``genre_index``, int64 ``[batch]``: the place in the genre list, -1 for a genre that is not in it.
    """
    segments = first_segments([inputs[name] for name in SEGMENT_FEATURES])
    standardised = segments.with_flat_values(tft.scale_to_z_score(segments.flat_values, elementwise=True))
    first = standardised.to_tensor(shape=[None, MAX_SEGMENTS, len(SEGMENT_FEATURES)])
    return {
        "timbre": first[:, :, :N_COEFFICIENTS],
        "pitches": first[:, :, N_COEFFICIENTS:],
        "track_statistics": track_statistics(
            standardised.to_tensor()[:, :, :N_COEFFICIENTS],
            segments.to_tensor()[:, :, N_COEFFICIENTS:],
            segments.row_lengths(),
        ),
        EAR_FEATURE: heard(inputs[EAR_FEATURE]),
        GENRE_INDEX: genre_index(tf.squeeze(inputs["genre"], 1), custom_config["genres"]),
    }


def first_segments(coefficients: Sequence[tf.RaggedTensor]) -> tf.RaggedTensor:
    """Joins the coefficients and drops what no model reads.

    Args:
        coefficients: ragged float ``[batch, segments]`` each, all of the same row lengths.

    Returns:
        Ragged float ``[batch, at most 2,048, coefficients]`` with a uniform inner dimension, so that its flat values
        are real segments only.
    """
    flat = tf.stack([coefficient.flat_values for coefficient in coefficients], axis=1)
    return coefficients[0].with_flat_values(flat)[:, :MAX_STATISTICS_SEGMENTS]


def heard(ear: tf.RaggedTensor) -> tf.Tensor:
    """Ragged float ``[batch, values]`` as ``[batch, 400]``; NaN where a track has another number of values."""
    whole = ear.row_lengths() == N_EAR
    return tf.where(whole[:, tf.newaxis], ear.to_tensor(shape=[None, N_EAR]), float("nan"))


def genre_index(genre: tf.Tensor, genres: Sequence[str]) -> tf.Tensor:
    """The place of each genre in the list, int64, -1 for others: never a matter of how frequent a genre is."""
    matches = tf.cast(tf.equal(genre[:, tf.newaxis], tf.constant(list(genres))), tf.int64)
    return tf.reduce_sum(matches * tf.range(1, len(genres) + 1, dtype=tf.int64), axis=1) - 1
