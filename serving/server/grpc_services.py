"""The gRPC interface: Predict, GetModelMetadata and GetModelStatus, as TF Serving speaks them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.errors import ServingError, code_number, invalid
from serving.server.inference import predict_signature
from serving.server.manager import Handle
from serving.server.service import Service
from serving.server.tensor_protos import read_tensors, write_tensor

MAX_MESSAGE = 100 << 20
"""Bytes of a request; TF Serving takes 2 GiB."""

MAX_CALLS = 256
"""Calls at one time; TF Serving has no limit."""

STOPPING = "The server is shutting down"
"""Details of the status of calls that come too late."""

_LOG = logging.getLogger(__name__)
# What is longer does not reach the client, whose limit for all the trailing metadata is 8 KiB.
_MAX_DETAILS = 2000
_QUICK_BYTES = 1 << 20
_SIGNATURES = "signature_def"
_Method = Callable[[Any, Any, Any], Awaitable[Any]]


def add_services(server: grpc.aio.Server, service: Service) -> None:
    """Lets a server answer as TF Serving does."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(service), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(service), server)


def _answered(method: _Method) -> _Method:
    """A method whose ServingErrors the client sees as gRPC's statuses."""

    @functools.wraps(method)
    async def answered(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            if self._service.stopping:
                raise ServingError("UNAVAILABLE", STOPPING)
            return await method(self, request, context)
        except ServingError as error:
            code, message = error.code, error.message
        except Exception:  # A fault of ours: the trace goes to the log, not to the client.
            _LOG.exception("%s", method.__name__)
            code, message = "INTERNAL", "Internal error"
        return await context.abort(grpc.StatusCode[code], message[:_MAX_DETAILS])

    return answered


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    @_answered
    async def Predict(self, request: Any, _context: Any) -> Any:
        with (
            self._service.counted(request.model_spec.name, "Predict", "GRPC"),
            self._service.budget.share() as take,
            self._use(request) as handle,
        ):
            take(request.ByteSize())
            name = predict_signature(handle.signatures, request.model_spec.signature_name).name
            tensors = await _aside(request.ByteSize() > _QUICK_BYTES, read_tensors, request.inputs)
            outputs = await self._service.predict(handle, name, tensors, list(request.output_filter))
            response = predict_pb2.PredictResponse()
            _fill_spec(response.model_spec, handle, name)
            for alias, array in outputs.items():
                response.outputs[alias].CopyFrom(write_tensor(array))
            return response

    @_answered
    async def GetModelMetadata(self, request: Any, _context: Any) -> Any:
        with self._use(request) as handle:
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != _SIGNATURES:
                    raise invalid(f"Metadata field {field} is not supported")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            _fill_spec(response.model_spec, handle, "")
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=handle.signature_protos)
            response.metadata[_SIGNATURES].Pack(signatures)
            return response

    def _use(self, request: Any) -> AbstractContextManager[Handle]:
        return self._service.model.use(*_model_spec(request))


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    @_answered
    async def GetModelStatus(self, request: Any, _context: Any) -> Any:
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._service.model.status(*_model_spec(request)):
            one = response.model_version_status.add(version=status.version, state=status.state.value)
            one.status.error_code = code_number(status.code)
            one.status.error_message = status.message
        return response


def _model_spec(request: Any) -> tuple[str, int | None]:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if choice == "version" else None


def _fill_spec(spec: Any, handle: Handle, signature_name: str) -> None:
    spec.name = handle.model
    spec.version.value = handle.version
    spec.signature_name = signature_name


async def _aside(aside: bool, work: Callable[..., Any], *arguments: Any) -> Any:
    """Does what takes long in another thread, so that other requests go on."""
    return await asyncio.to_thread(work, *arguments) if aside else work(*arguments)
