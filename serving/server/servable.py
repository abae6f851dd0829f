"""One version of a model in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.errors import ServingError, from_tensorflow, invalid
from serving.server.inference import check_inputs, example_signature, example_tensors, predict_signature
from serving.server.metrics import WARMUP_LATENCY, Metrics
from serving.server.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Signature, Tensors, read_signature
from serving.server.tensor_protos import read_tensors, serialized_examples

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000
_CALLERS_THREAD = -1


@dataclass(frozen=True)
class SessionThreads:
    """How many threads a session may use inside one operation and for operations side by side.

    Where operations run one after another, they do so in the thread that asks: to wake another for a millisecond's work
    costs a noticeable part of it.
    """

    intra_op: int = 1
    inter_op: int = 1


class Servable:
    """A SavedModel in a TF1 session, as TF Serving loads it.

    Attributes:
        signatures: by name, without SavedModel's own.
        signature_protos: by name, with SavedModel's own.
    """

    def __init__(self, folder: str, threads: SessionThreads) -> None:
        """Loads a SavedModel; whatever TensorFlow raises for a broken one goes through."""
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads.intra_op, inter_op_parallelism_threads=threads.inter_op
        )
        self._run_options = config_pb2.RunOptions(inter_op_thread_pool=_CALLERS_THREAD if threads.inter_op == 1 else 0)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
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

    def close(self) -> None:
        """Gives the memory back. Nothing may be running."""
        self._session.close()

    def _callable(self, signature: Signature) -> Callable[[Tensors], Tensors]:
        fed = {spec.tensor: name for name, spec in signature.inputs.items()}
        # Two outputs may be one tensor, and an output may be an input: TensorFlow fetches neither.
        fetched = list(dict.fromkeys(spec.tensor for spec in signature.outputs.values() if spec.tensor not in fed))
        options = config_pb2.CallableOptions(feed=list(fed), fetch=fetched, run_options=self._run_options)
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
    if kind == "predict_log":
        request = log.predict_log.request
        signature = predict_signature(servable.signatures, request.model_spec.signature_name)
        tensors = read_tensors(request.inputs)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        method = CLASSIFY_METHOD if kind == "classify_log" else REGRESS_METHOD
        signature = example_signature(servable.signatures, request.model_spec.signature_name, method)
        tensors = example_tensors(serialized_examples(request.input))
    else:
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
    check_inputs(signature, tensors)
    servable.run(signature, tensors)
