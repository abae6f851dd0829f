"""The gRPC interface: Predict, GetModelMetadata and GetModelStatus, as TF Serving speaks them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.server.bodies import Take, forget_trace
from serving.server.errors import ServingError, code_number, invalid
from serving.server.inference import predict_signature
from serving.server.manager import Handle
from serving.server.service import Service
from serving.server.tensor_protos import read_tensors, write_tensor

MAX_MESSAGE = 32 << 20
"""Bytes of a request, inflated: some 350 ordinary tracks. TF Serving takes 2 GiB."""

READ_TOGETHER = 8
"""Requests that are received at one time. Others wait, however many; what gRPC holds of each is some kilobytes."""

STOPPING = "The server is shutting down"
"""Details of the status of calls that come too late."""

_LOG = logging.getLogger(__name__)
# What is longer does not reach the client, whose limit for all the trailing metadata is 8 KiB.
_MAX_DETAILS = 2000
_QUICK_BYTES = 1 << 20
_READ_S = 10
_SIGNATURES = "signature_def"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Method = Callable[[Any], Awaitable[Any]]


def add_services(server: grpc.aio.Server, service: Service) -> None:
    """Lets a server answer as TF Serving does."""
    gate = asyncio.Semaphore(READ_TOGETHER)
    prediction, model = _PredictionService(service), _ModelService(service)
    services = {
        "tensorflow.serving.PredictionService": {
            "Predict": (prediction.Predict, predict_pb2.PredictRequest),
            "GetModelMetadata": (prediction.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest),
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": (model.GetModelStatus, get_model_status_pb2.GetModelStatusRequest),
        },
    }
    for name, methods in services.items():
        handlers = {key: _handler(service, gate, *method) for key, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _handler(service: Service, gate: asyncio.Semaphore, method: _Method, request_type: Any) -> Any:
    """Answers with a method, whose ServingErrors the client sees as gRPC's statuses.

    On the wire, a call with one request is a stream with one message. A stream's messages are received when they are
    asked for; that of another call is in memory before its handler runs, whatever else is.
    """

    async def answer(context: _Context) -> Any:
        if service.stopping:
            raise ServingError("UNAVAILABLE", STOPPING)
        with service.budget.share() as take:
            async with gate:
                request = await asyncio.wait_for(_received(context, take, request_type), _READ_S)
            return await method(request)

    async def answer_or_abort(_messages: Any, context: _Context) -> Any:
        try:
            return await answer(context)
        except asyncio.TimeoutError as error:
            code, message = "DEADLINE_EXCEEDED", "The request did not come to its end"
            forget_trace(error)
        except ServingError as error:
            code, message = error.code, error.message
            forget_trace(error)
        except Exception:  # A fault of ours: the trace goes to the log, not to the client.
            _LOG.exception("%s", request_type.__name__)
            code, message = "INTERNAL", "Internal error"
        # gRPC keeps what this raises, and with it this call's variables: the request is none of them.
        return await context.abort(grpc.StatusCode[code], message[:_MAX_DETAILS])

    return grpc.stream_unary_rpc_method_handler(answer_or_abort, None, lambda response: response.SerializeToString())


async def _received(context: _Context, take: Take, request_type: Any) -> Any:
    message = await context.read()
    if not isinstance(message, bytes):
        raise ServingError("CANCELLED", "The client sent nothing")
    take(len(message))
    try:
        return request_type.FromString(message)
    except DecodeError:
        raise invalid(f"The message is no {request_type.__name__}") from None


class _PredictionService:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def Predict(self, request: Any) -> Any:
        with (
            self._service.counted(request.model_spec.name, "Predict", "GRPC"),
            self._use(request) as handle,
        ):
            name = predict_signature(handle.signatures, request.model_spec.signature_name).name
            tensors = await _aside(request.ByteSize() > _QUICK_BYTES, read_tensors, request.inputs)
            outputs = await self._service.predict(handle, name, tensors, list(request.output_filter))
            response = predict_pb2.PredictResponse()
            _fill_spec(response.model_spec, handle, name)
            for alias, array in outputs.items():
                response.outputs[alias].CopyFrom(write_tensor(array))
            return response

    async def GetModelMetadata(self, request: Any) -> Any:
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


class _ModelService:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def GetModelStatus(self, request: Any) -> Any:
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
