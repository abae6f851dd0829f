"""Tracks as batches of tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.preprocessing import LABEL

_PARSED_TOGETHER = 64
_SHUFFLE_BUFFER = 4096


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
            return {name: transformed[name] for name in self.features}, transformed[LABEL]

        return (
            raw_examples(file_patterns)
            .batch(_PARSED_TOGETHER)
            .map(transform, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .unbatch()
        )


def raw_examples(file_patterns: Sequence[str]) -> tf.data.Dataset:
    """Serialized examples, in an order that is the same at every call."""
    files = sorted(path for pattern in file_patterns for path in tf.io.gfile.glob(pattern))
    return tf.data.TFRecordDataset(files)


@dataclass(frozen=True)
class Batching:
    """How tracks are put together for training: tracks a batch, and the seed of their order."""

    batch_size: int
    seed: int


@contextmanager
def training_batches(
    reader: TransformedReader,
    train: Sequence[str],
    validation: Sequence[str],
    batching: Batching,
    cache_in: str,
) -> Iterator[tuple[tf.data.Dataset, tf.data.Dataset]]:
    """Batches for training, shuffled anew each epoch, and for validation.

    Examples are parsed and transformed once, into a cache in the folder ``cache_in``, so that memory does not grow with
    the catalogue. The cache lives as long as the context.
    """
    with TemporaryDirectory(dir=cache_in) as folder:

        def cached(patterns: Sequence[str], name: str) -> tf.data.Dataset:
            return reader.read(patterns).cache(os.path.join(folder, name))

        shuffled = cached(train, "train").shuffle(_SHUFFLE_BUFFER, seed=batching.seed, reshuffle_each_iteration=True)
        yield (
            shuffled.batch(batching.batch_size).prefetch(tf.data.AUTOTUNE),
            cached(validation, "validation").batch(batching.batch_size).prefetch(tf.data.AUTOTUNE),
        )
