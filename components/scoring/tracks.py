"""What serialized examples say of their tracks, without the segments."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

from components.scoring.predictions import TRACK_COLUMNS
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR, artist_key

_TYPES = {pa.string(): (tf.string, ""), pa.int64(): (tf.int64, 0), pa.float32(): (tf.float32, 0.0)}
_UNKNOWN = float("nan")
_PARSED_TOGETHER = 256


def track_table(examples: tf.data.Dataset) -> pa.Table:
    """A row an example of a dataset of serialized tf.Examples.

    A text that an example does not have is empty, an audio feature or a duration null.
    """
    spec = {name: tf.io.FixedLenFeature([], *_TYPES[of_type]) for name, of_type in TRACK_COLUMNS.items()}
    spec |= {name: tf.io.FixedLenFeature([], tf.float32, _UNKNOWN) for name in AUDIO_FEATURES}
    parsed = examples.batch(_PARSED_TOGETHER).map(lambda batch: tf.io.parse_example(batch, spec))
    schema = pa.schema(list(TRACK_COLUMNS.items()))
    batches = [
        pa.table({name: _column(name, batch[name]) for name in TRACK_COLUMNS}, schema)
        for batch in parsed.as_numpy_iterator()
    ]
    return pa.concat_tables(batches) if batches else schema.empty_table()


def first_unheard(examples: tf.data.Dataset) -> str | None:
    """The id of the first of serialized tf.Examples without what a network hears in the sound; None if all have it."""
    spec = {"track_id": tf.io.FixedLenFeature([], tf.string, ""), EAR_FEATURE: tf.io.RaggedFeature(tf.float32)}
    for batch in examples.batch(_PARSED_TOGETHER).map(lambda batch: tf.io.parse_example(batch, spec)):
        unheard = tf.boolean_mask(batch["track_id"], batch[EAR_FEATURE].row_lengths() != N_EAR)
        if len(unheard):
            return str(unheard[0].numpy().decode())
    return None


def artist_keys(tracks: pa.Table) -> list[str]:
    """What tells each track's artist from others, empty where the artist is unknown."""
    pairs = zip(tracks["artist_id"].to_pylist(), tracks["artist"].to_pylist(), strict=True)
    return [artist_key(artist_id, artist) for artist_id, artist in pairs]


def _column(name: str, values: npt.NDArray[Any]) -> pa.Array:
    if name == "duration":
        return pa.array(values, mask=values == 0)
    if values.dtype == object:
        return pa.array([value.decode() for value in values])
    return pa.array(values, from_pandas=True)  # NaN is null.
