"""Requests that TF Serving answers before a model goes live, so that no client waits for its first run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.scoring.saved_model import request
from components.trainer.export import ARRAYS_SIGNATURE, EXAMPLES_SIGNATURE

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
"""Where TF Serving looks for them in a SavedModel."""

_INPUTS = {ARRAYS_SIGNATURE: {"timbre", "pitches"}, EXAMPLES_SIGNATURE: {"examples"}}


def save_warmup(folder: str, examples: Sequence[bytes]) -> None:
    """Writes a request a signature and example into a SavedModel's folder.

    Args:
        folder: the SavedModel.
        examples: real tf.Examples, as TrackExampleGen writes them.
    """
    with tf.io.TFRecordWriter(os.path.join(folder, FILE)) as writer:
        for signature, names in _INPUTS.items():
            for example in examples:
                writer.write(_predict_log(signature, names, example).SerializeToString(deterministic=True))


def _predict_log(signature: str, names: set[str], example: bytes) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    sent = log.predict_log.request
    sent.model_spec.signature_name = signature
    for name, value in (request(names, [example]) or {}).items():
        sent.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log
