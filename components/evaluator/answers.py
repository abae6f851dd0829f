"""Models' answers as tf.Examples, which TFMA evaluates without a model.

TFMA runs a SavedModel in a way that costs tens of milliseconds a track, and TFX's Evaluator takes two models at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf
from tfx.types import Artifact, artifact_utils

from components.evaluator.slices import SLICES
from components.scoring.predictions import Predictions
from components.storage.files import fileio
from components.track_example_gen.splits import TEST

SLICE_PREFIX = "slice_"
"""Begins the name of the feature of a slice, which may be called as one of the others."""

MODEL = "model"
"""Feature: the name of the model that answered."""

LABEL = "genre_index"
"""Feature: the class index of the track's genre."""

ANSWER = "probabilities"
"""Feature: the model's probability of each genre, in the order of the class index."""


def write_answers(to: Artifact, answers: Mapping[str, Predictions], slices: Sequence[str]) -> None:
    """Writes an example for each answer: its model, label and probabilities, and its track's part of each slice.

    Args:
        to: Examples, which get a test split.
        answers: by the model's name.
        slices: keys of :data:`SLICES`.
    """
    to.split_names = artifact_utils.encode_split_names([TEST])
    folder = artifact_utils.get_split_uri([to], TEST)
    fileio.makedirs(folder)
    with tf.io.TFRecordWriter(f"{folder}/answers.gz", "GZIP") as writer:
        for example in _examples(answers, slices):
            writer.write(example)


def _examples(answers: Mapping[str, Predictions], slices: Sequence[str]) -> Iterator[bytes]:
    for model, predictions in answers.items():
        rows = zip(predictions.tracks.to_pylist(), predictions.actual, predictions.probabilities, strict=True)
        for facts, actual, probabilities in rows:
            features = {
                MODEL: _text(model),
                LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[actual])),
                ANSWER: tf.train.Feature(float_list=tf.train.FloatList(value=probabilities)),
                **{slice_feature(name): _text(SLICES[name](facts)) for name in slices},
            }
            yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def slice_feature(name: str) -> str:
    """The name of a slice's feature."""
    return f"{SLICE_PREFIX}{name}"


def _text(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
