"""Tracks as batches of tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from components.transform.preprocessing import GENRE_INDEX

_PARSED_TOGETHER = 64
_SHUFFLE_BUFFER = 4096
_FILES_IN_TURN = 128


class TransformGraph:
    """Transform's output, loaded once: importing its graph takes seconds.

    Attributes:
        layer: from raw features to transformed ones.
        raw_spec: what ``tf.io.parse_example`` needs to read raw features, the genre among them.
    """

    def __init__(self, folder: str) -> None:
        """Loads the artifact in ``folder``."""
        output = tft.TFTransformOutput(folder)
        self.layer = output.transform_features_layer()
        self.raw_spec = output.raw_feature_spec()


@dataclass(frozen=True)
class TransformedReader:
    """Reads raw examples through the transform graph, the one that also serves.

    Attributes:
        graph: the transform graph.
        features: transformed features to keep.
    """

    graph: TransformGraph
    features: tuple[str, ...]

    def read(self, file_patterns: Sequence[str]) -> tf.data.Dataset:
        """One element a track: the features by name, and the genre's index."""

        # AutoGraph would rewrite the layer's Python for seconds, and has nothing to rewrite there.
        @tf.autograph.experimental.do_not_convert
        def transform(examples: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            transformed = self.graph.layer(tf.io.parse_example(examples, self.graph.raw_spec))
            return {name: transformed[name] for name in self.features}, transformed[GENRE_INDEX]

        return (
            raw_examples(file_patterns)
            .batch(_PARSED_TOGETHER)
            .map(transform, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .unbatch()
        )


def raw_examples(file_patterns: Sequence[str]) -> tf.data.Dataset:
    """Serialized examples, in an order that is the same at every call."""
    files = sorted(path for pattern in file_patterns for path in tf.io.gfile.glob(pattern))
    # A file holds neighbours in the catalogue, often of one genre: taken in turns, files are shuffled well by a buffer.
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset, cycle_length=max(1, min(len(files), _FILES_IN_TURN)), deterministic=True
    )


def cached_tracks(reader: TransformedReader, file_patterns: Sequence[str], path: str) -> tf.data.Dataset:
    """The reader's elements, parsed and transformed once: into a file, so that memory does not grow with the catalogue.

    Args:
        reader: how tracks are read.
        file_patterns: TFRecord files.
        path: of the file, which is whoever calls' to remove.
    """
    return reader.read(file_patterns).cache(path)


def labels_of(tracks: tf.data.Dataset) -> npt.NDArray[np.int64]:
    """Class indices of ``(features, class index)``, in order."""
    return np.array([int(label) for _, label in tracks], np.int64)


def shuffled(tracks: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Tracks in an order that is another one each epoch, and the same for equal seeds."""
    return tracks.shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)


def balanced(tracks: tf.data.Dataset, counts: Sequence[int], seed: int, cache: str) -> tf.data.Dataset:
    """Tracks without end, each drawn from a genre that was drawn first, every genre being as likely.

    Args:
        tracks: of ``(features, class index)``.
        counts: how many tracks each class has; a class without any is not drawn.
        seed: of all draws.
        cache: folder where each genre is kept by itself, so that a rare one is not looked for among all tracks.
    """

    def of(genre: int) -> tf.data.Dataset:
        own = tracks.filter(lambda _, label: label == genre).cache(os.path.join(cache, f"genre-{genre}"))
        return shuffled(own, seed).repeat()

    genres = [of(genre) for genre, count in enumerate(counts) if count]
    return tf.data.Dataset.sample_from_datasets(genres, seed=seed)
