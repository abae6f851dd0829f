"""What both interfaces do with a request: find the model, run it, count it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from serving.server.errors import ServingError
from serving.server.inference import check_inputs, example_signature, example_tensors, filter_outputs, predict_signature
from serving.server.manager import Handle, ModelConfig, ModelManager
from serving.server.metrics import REQUEST_COUNT, REQUEST_LATENCY, Metrics
from serving.server.request_log import RequestLogs, make_folder
from serving.server.signatures import Signature, Tensors


class Service:
    """The models, for clients.

    Attributes:
        models: what is served.
        metrics: what is counted.
        stopping: whether the server is about to stop, and new calls had better go elsewhere.
    """

    def __init__(self, models: ModelManager, metrics: Metrics, logs: RequestLogs) -> None:
        self.models = models
        self.metrics = metrics
        self.stopping = False
        self._logs = logs

    def reconfigure(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models from now on; returns when their versions are loaded or have failed.

        Raises:
            ServingError: they cannot be served so; all stays as it is.
        """
        logs = {config.name: config.log for config in configs if config.log}
        for log in logs.values():
            make_folder(log)
        self.models.reconfigure(configs)
        self._logs.configure(logs)

    @contextmanager
    def counted(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request to a model with its latency.

        Only models that are configured count, or any client could make the server remember names without end.
        """
        start = time.perf_counter()
        code = "UNKNOWN"
        try:
            yield
            code = "OK"
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        finally:
            if model in self.models.models:
                elapsed_us = (time.perf_counter() - start) * 1e6
                self.metrics.count(REQUEST_COUNT, model_name=model, status=code)
                self.metrics.observe(REQUEST_LATENCY, elapsed_us, model_name=model, API=api, entrypoint=entrypoint)

    async def predict(
        self, handle: Handle, signature_name: str, tensors: Tensors, wanted: Sequence[str] = ()
    ) -> tuple[Signature, Tensors]:
        """Runs a signature.

        Returns:
            The signature, and the outputs wanted or all.

        Raises:
            ServingError: whatever is wrong with the request, or the model says about it.
        """
        signature = predict_signature(handle.signatures, signature_name)
        names = filter_outputs(signature, wanted)
        check_inputs(signature, tensors)
        outputs = await asyncio.wrap_future(handle.submit(signature, tensors))
        self._logs.offer(handle.model, signature, tensors)
        return signature, {name: outputs[name] for name in names}

    async def run_examples(
        self, handle: Handle, signature_name: str, method: str, examples: Sequence[bytes]
    ) -> tuple[Signature, Tensors]:
        """Runs a classify or regress signature on serialized tf.Examples; raises as :meth:`predict` does."""
        signature = example_signature(handle.signatures, signature_name, method)
        tensors = example_tensors(examples)
        check_inputs(signature, tensors)
        return signature, await asyncio.wrap_future(handle.submit(signature, tensors))


def input_types(handle: Handle, signature_name: str) -> dict[str, tf.DType]:
    """The types of a signature's inputs, for the JSON that feeds them; raises ``INVALID_ARGUMENT`` for an unknown one.

    The words are not those of gRPC for the same mistake, as in TF Serving.
    """
    try:
        signature = predict_signature(handle.signatures, signature_name)
    except ServingError as error:
        if error.code != "FAILED_PRECONDITION":
            raise
        name = signature_name or "serving_default"
        raise ServingError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def') from None
    return {name: spec.dtype for name, spec in signature.inputs.items()}
