"""What both interfaces do with a request: find the model, run it, count it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serving.server.bodies import Budget
from serving.server.errors import ServingError
from serving.server.inference import check_inputs, filter_outputs, predict_signature
from serving.server.manager import Handle, ModelManager
from serving.server.metrics import REQUEST_COUNT, REQUEST_LATENCY, Metrics
from serving.server.request_log import RequestLog
from serving.server.signatures import Tensors


class Service:
    """The model, for clients.

    Attributes:
        model: Versions of the model.
        metrics: Counters and latencies.
        budget: Memory for the bodies of all requests.
        stopping: Whether the server is about to stop, so that new calls should go elsewhere.
    """

    def __init__(self, model: ModelManager, metrics: Metrics, log: RequestLog | None = None) -> None:
        self.model = model
        self.metrics = metrics
        self.budget = Budget()
        self.stopping = False
        self._log = log

    @contextmanager
    def counted(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request with its latency, unless it asks for another model.

        Else any client could make the server remember names without end.
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
            if model == self.model.name:
                elapsed_us = (time.perf_counter() - start) * 1e6
                self.metrics.count(REQUEST_COUNT, model_name=model, status=code)
                self.metrics.observe(REQUEST_LATENCY, elapsed_us, model_name=model, API=api, entrypoint=entrypoint)

    async def predict(
        self, handle: Handle, signature_name: str, tensors: Tensors, wanted: Sequence[str] = ()
    ) -> Tensors:
        """Runs a signature.

        Returns:
            The outputs wanted, or all.

        Raises:
            ServingError: whatever is wrong with the request, or the model says about it.
        """
        signature = predict_signature(handle.signatures, signature_name)
        names = filter_outputs(signature, wanted)
        check_inputs(signature, tensors)
        outputs = await asyncio.wrap_future(handle.submit(signature, tensors))
        if self._log:
            self._log.offer(signature, tensors)
        return {name: outputs[name] for name in names}
