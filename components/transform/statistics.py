"""What a whole track is like: statistics of all its segments, in the graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from deepmusic_genre.tracks.track import N_COEFFICIENTS

FRAME_SEGMENTS = 3
"""Consecutive segments that are looked at together."""

_PITCH_SHAPE = N_COEFFICIENTS // 2 + 1 + 2
FRAME = FRAME_SEGMENTS * (N_COEFFICIENTS + _PITCH_SHAPE) + 1
"""Values of a frame: of each segment the timbre and the pitches' spectrum, entropy and deviation; and a one."""

N_MOMENTS = FRAME * (FRAME + 1) // 2
N_PITCH_STATISTICS = 3 * N_COEFFICIENTS
N_STATISTICS = N_MOMENTS + 1 + N_PITCH_STATISTICS

_UPPER = np.flatnonzero(np.triu(np.ones((FRAME, FRAME), bool)).ravel())
_TINY = 1e-6


def track_statistics(timbre: tf.Tensor, pitches: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Statistics of whole tracks.

    Args:
        timbre: standardised, float32 ``[batch, segments, 12]``, zeros after a track's last segment.
        pitches: as analysed (0..1), of the same shape.
        lengths: segments of each track, int64 ``[batch]``.

    Returns:
        Float32 ``[batch, 2117]``: the upper triangle of the frames' second-moment matrix, which holds means,
        covariances and covariances between neighbouring segments in one; the number of frames (0 for a track of fewer
        than three segments); and three statistics of the pitches, see :func:`pitch_statistics`.
    """
    real = tf.cast(tf.sequence_mask(lengths, tf.shape(timbre)[1]), tf.float32)[:, :, tf.newaxis]
    frames, in_track = _frames(tf.concat([timbre, pitch_shape(pitches)], axis=2), real)
    count = tf.reduce_sum(in_track, axis=1)
    # In double precision, a sum does not depend on what else is in the batch.
    exact = tf.cast(frames * in_track, tf.float64)
    sums = tf.reshape(tf.matmul(exact, exact, transpose_a=True), [-1, FRAME * FRAME])
    moments = tf.cast(tf.gather(sums, _UPPER, axis=1), tf.float32) / tf.maximum(count, 1)
    return tf.concat([moments, count, pitch_statistics(pitches * real, lengths)], axis=1)


def pitch_shape(pitches: tf.Tensor) -> tf.Tensor:
    """What of a segment's pitches does not change with the key.

    Args:
        pitches: ``[batch, segments, 12]``.

    Returns:
        ``[batch, segments, 9]``: magnitudes of the Fourier transform over the pitch classes, entropy, deviation.
    """
    spectrum = tf.abs(tf.signal.rfft(pitches))
    share = pitches / (tf.reduce_sum(pitches, axis=2, keepdims=True) + _TINY)
    entropy = -tf.reduce_sum(share * tf.math.log(share + _TINY), axis=2, keepdims=True)
    return tf.concat([spectrum, entropy, tf.math.reduce_std(pitches, axis=2, keepdims=True)], axis=2)


def pitch_statistics(pitches: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """How a track uses the pitch classes, whatever its key.

    Args:
        pitches: ``[batch, segments, 12]``, zeros after a track's last segment.
        lengths: segments of each track.

    Returns:
        ``[batch, 36]``: the mean profile from its strongest class upwards; the mean of each segment's sorted pitches;
        and by interval, how much of a class sounds in the segment after another class.
    """
    count = tf.cast(tf.maximum(lengths, 1), tf.float32)[:, tf.newaxis]
    classes = tf.range(N_COEFFICIENTS)
    profile = tf.reduce_sum(pitches, axis=1) / count
    strongest = tf.argmax(profile, axis=1, output_type=tf.int32)[:, tf.newaxis]
    rotated = tf.gather(profile, (classes + strongest) % N_COEFFICIENTS, batch_dims=1)
    ordered = tf.reduce_sum(tf.sort(pitches, axis=2), axis=1) / count
    pairs = tf.matmul(pitches[:, 1:], pitches[:, :-1], transpose_a=True) / tf.maximum(count - 1, 1)[:, :, tf.newaxis]
    # Row k of the table: the places of (class + k, class) for every class.
    table = (classes[:, tf.newaxis] + classes) % N_COEFFICIENTS * N_COEFFICIENTS + classes
    flat = tf.reshape(pairs, [-1, N_COEFFICIENTS * N_COEFFICIENTS])
    intervals = tf.reduce_sum(tf.gather(flat, table, axis=1), axis=2)
    return tf.concat([rotated, ordered, intervals], axis=1)


def _frames(segments: tf.Tensor, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Consecutive segments stacked, ``[batch, segments - 2, FRAME]``, and 1 where all of a frame is in the track."""
    places = tf.maximum(tf.shape(segments)[1] - FRAME_SEGMENTS + 1, 0)
    stacked = [segments[:, shift : shift + places] for shift in range(FRAME_SEGMENTS)]
    in_track = real[:, FRAME_SEGMENTS - 1 :]
    return tf.concat([*stacked, tf.ones_like(in_track)], axis=2), in_track
