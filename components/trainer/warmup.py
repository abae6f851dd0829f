"""Requests that TF Serving answers before a model goes live, so that no client waits for its first run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.scoring.saved_model import ARRAYS, request
from components.trainer.export import ARRAYS_SIGNATURE, EXAMPLES_SIGNATURE
from deepmusic_genre.tracks.track import EAR_FEATURE

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
"""Where TF Serving looks for them in a SavedModel."""


def save_warmup(folder: str, examples: Sequence[bytes], *, listens: bool = False) -> None:
    """Writes a request a signature and example into a SavedModel's folder.

    Args:
        folder: the SavedModel.
        examples: real tf.Examples, as TrackExampleGen writes them.
        listens: whether the model does.
    """
    arrays = {*ARRAYS, EAR_FEATURE} if listens else ARRAYS
    with tf.io.TFRecordWriter(os.path.join(folder, FILE)) as writer:
        for signature, names in {ARRAYS_SIGNATURE: arrays, EXAMPLES_SIGNATURE: {"examples"}}.items():
            for example in examples:
                writer.write(_predict_log(signature, names, example).SerializeToString(deterministic=True))


def _predict_log(signature: str, names: set[str], example: bytes) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    sent = log.predict_log.request
    sent.model_spec.signature_name = signature
    for name, value in (request(names, [example]) or {}).items():
        sent.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log
