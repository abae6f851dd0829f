"""One version of a model in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.errors import ServingError, from_tensorflow, invalid
from serving.server.inference import check_inputs, predict_signature
from serving.server.metrics import WARMUP_LATENCY, Metrics
from serving.server.signatures import Signature, Tensors, read_signature
from serving.server.tensor_protos import read_tensors

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000

# A model of tracks is small: to wake another thread for a millisecond's work costs a noticeable part of it.
_SESSION = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
_IN_THE_CALLERS_THREAD = config_pb2.RunOptions(inter_op_thread_pool=-1)


class Servable:
    """A SavedModel in a TF1 session, as TF Serving loads it.

    Attributes:
        signatures: by name, without SavedModel's own.
        signature_protos: by name, with SavedModel's own.
    """

    def __init__(self, folder: str) -> None:
        """Loads a SavedModel; whatever TensorFlow raises for a broken one goes through."""
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_SESSION)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], folder)
            self.signature_protos = dict(meta_graph.signature_def)
            self.signatures = {
                name: read_signature(name, proto)
                for name, proto in self.signature_protos.items()
                if not name.startswith("__")
            }
            self._callables = {name: self._callable(signature) for name, signature in self.signatures.items()}
        except BaseException:
            self._session.close()
            raise

    def run(self, signature: Signature, tensors: Tensors) -> Tensors:
        """Runs a signature on tensors that :func:`~serving.server.inference.check_inputs` passed.

        Raises:
            ServingError: with TensorFlow's code and message.
        """
        try:
            return self._callables[signature.name](tensors)
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except UnicodeDecodeError as error:
            # TensorFlow quotes an input that is no text, and its Python interface fails to read that.
            raise invalid(error.object.decode("utf-8", "backslashreplace")) from None

    def close(self) -> None:
        """Gives the memory back. Nothing may be running."""
        self._session.close()

    def _callable(self, signature: Signature) -> Callable[[Tensors], Tensors]:
        fed = {spec.tensor: name for name, spec in signature.inputs.items()}
        # Two outputs may be one tensor, and an output may be an input: TensorFlow fetches neither.
        fetched = list(dict.fromkeys(spec.tensor for spec in signature.outputs.values() if spec.tensor not in fed))
        options = config_pb2.CallableOptions(feed=list(fed), fetch=fetched, run_options=_IN_THE_CALLERS_THREAD)
        # The public make_callable looks every tensor up by name at every call, which takes as long as a small network.
        run = self._session._make_callable_from_options(options)

        def call(tensors: Tensors) -> Tensors:
            answers = dict(zip(fetched, run(*(tensors[name] for name in fed.values())), strict=True))
            return {
                name: answers[spec.tensor] if spec.tensor in answers else tensors[fed[spec.tensor]]
                for name, spec in signature.outputs.items()
            }

        return call


def warm_up(servable: Servable, folder: str, metrics: Metrics) -> int:
    """Runs the requests that a SavedModel brings along, so that the first client need not wait.

    Returns:
        How many there were.

    Raises:
        ServingError: if one fails or there are too many.
        tf.errors.OpError: if the file is broken.
    """
    path = Path(folder) / WARMUP_FILE
    if not path.is_file():
        return 0
    start = time.monotonic()
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    count = 0
    for record in itertools.islice(records, MAX_WARMUP_RECORDS + 1):
        count += 1
        if count > MAX_WARMUP_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS})")
        _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))
    metrics.observe(WARMUP_LATENCY, (time.monotonic() - start) * 1e6, model_path=folder, status="OK")
    return count


def _replay(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
    request = log.predict_log.request
    signature = predict_signature(servable.signatures, request.model_spec.signature_name)
    tensors = read_tensors(request.inputs)
    check_inputs(signature, tensors)
    servable.run(signature, tensors)
