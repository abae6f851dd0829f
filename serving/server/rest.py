"""The REST interface, as TF Serving speaks it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote

import tensorflow as tf
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.bodies import Take, UnreadBody, forget_trace, inflate, read_body
from serving.server.errors import ServingError, http_status, invalid
from serving.server.inference import predict_signature
from serving.server.json_tensors import PredictBody, decode_predict, encode_predict
from serving.server.json_values import error_document
from serving.server.manager import Handle
from serving.server.metrics import METRICS_PATH
from serving.server.service import Service
from serving.server.signatures import DEFAULT_SIGNATURE, PREDICT_METHOD, Tensors

MakePage = Callable[[Service, float], ASGIApp]
"""Makes what answers outside the interface from the model, and the seconds that a request may take."""

Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)
_JSON = "application/json"
_QUICK_BYTES = 160 << 10
_QUICK_VALUES = 20_000
_LARGEST_VERSION = 2**63 - 1
_VERSION_DIGITS = 19
_CORS = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST", "GET"], allow_headers=["Content-Type"])
# protobuf renamed it in version 5.
_ALL_FIELDS = (
    "always_print_fields_with_no_presence"
    if "always_print_fields_with_no_presence" in json_format.MessageToDict.__code__.co_varnames
    else "including_default_value_fields"
)


@dataclass(frozen=True)
class RestSettings:
    """How the REST interface behaves.

    Attributes:
        timeout_s: Seconds that a request may take, from its headers to its answer.
        cors: Whether pages of other origins may use it.
    """

    timeout_s: float = 30
    cors: bool = False


def rest_application(service: Service, settings: RestSettings, page: MakePage | None = None) -> Starlette:
    """The interface, the metrics, and a page if there is one."""
    rest = _Rest(service, settings.timeout_s)
    routes = []
    for model in ("/models/{model:segment}", "/models/{model:segment}/versions/{version:version}"):
        routes += [
            Route(f"{model}:predict", rest.predict, methods=["POST"]),
            Route(f"{model}:{{method:segment}}", rest.other_method, methods=["POST"]),
            Route(f"{model}/metadata", rest.metadata),
            Route(model, rest.status),
        ]
    return Starlette(
        routes=[
            Mount("/v1", routes=[*routes, Mount("/", _malformed)], middleware=[_CORS] if settings.cors else []),
            Route(METRICS_PATH, rest.metrics),
            *([Mount("/", page(service, settings.timeout_s))] if page else []),
        ],
        middleware=[Middleware(_RawPath)],
        exception_handlers={ServingError: _refused, Exception: _failed},  # type: ignore[dict-item] # of its own only
    )


class _Rest:
    def __init__(self, service: Service, timeout_s: float) -> None:
        self._service = service
        self._timeout_s = timeout_s
        # One thread: only one large document is taken apart at a time, which bounds the memory.
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def predict(self, request: Request) -> Response:
        try:
            return await asyncio.wait_for(self._predict(request), self._timeout_s)
        except asyncio.TimeoutError as error:
            forget_trace(error)
            return _refusal(UnreadBody("DEADLINE_EXCEEDED", "Timed out waiting for notification"))
        except ServingError as error:
            forget_trace(error)
            return _refusal(error)

    async def _predict(self, request: Request) -> Response:
        model, version = _target(request)
        with self._service.counted(model, "predict", "REST"), self._service.budget.share() as take:
            body = await read_body(request, take)
            packed = "gzip" in request.headers.get("content-encoding", "").lower()
            with self._service.model.use(model, version) as handle:
                decode = partial(_decoded, body, packed, take, handle)
                asked = await self._aside(packed or len(body) > _QUICK_BYTES, decode)
                outputs = await self._service.predict(handle, asked.signature, asked.tensors)
                content = await self._aside(_is_long(outputs), partial(encode_predict, outputs, asked.row))
        return Response(content, media_type=_JSON)

    async def _aside(self, aside: bool, work: Callable[[], Result]) -> Result:
        """Does what takes long in another thread, so that other requests go on."""
        return await asyncio.get_running_loop().run_in_executor(self._large, work) if aside else work()

    async def other_method(self, request: Request) -> Response:
        """Classify and regress: no model here has a signature for them."""
        method = request.path_params["method"]
        if method not in ("classify", "regress"):
            raise _malformed_request(request.scope)
        with self._service.model.use(*_target(request)):
            wanted = f"tensorflow/serving/{method}"
            raise invalid(f"Expected signature method_name to be {wanted}. Was: {PREDICT_METHOD}")

    async def status(self, request: Request) -> Response:
        versions = [
            {
                "version": str(status.version),
                "state": status.state.name,
                "status": {"error_code": status.code, "error_message": status.message},
            }
            for status in self._service.model.status(*_target(request))
        ]
        return _json({"model_version_status": versions})

    async def metadata(self, request: Request) -> Response:
        with self._service.model.use(*_target(request)) as handle:
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=handle.signature_protos)
            described = json_format.MessageToDict(signatures, preserving_proto_field_name=True, **{_ALL_FIELDS: True})
            spec = {"name": handle.model, "signature_name": "", "version": str(handle.version)}
        return _json({"model_spec": spec, "metadata": {"signature_def": described}})

    async def metrics(self, _request: Request) -> Response:
        return PlainTextResponse(self._service.metrics.page(), media_type="text/plain; version=0.0.4")


class _RawPath:
    """Lets routes see a path as it was sent: an encoded slash is part of a name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = scope["raw_path"].decode("ascii")
        await self._app(scope, receive, send)


class _Segment(Convertor[str]):
    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        raise NotImplementedError


class _Version(Convertor[int]):
    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        # Python refuses to read thousands of digits.
        significant = value.lstrip("0") or "0"
        if len(significant) > _VERSION_DIGITS or int(significant) > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {value} to numeric.")
        return int(significant)

    def to_string(self, value: int) -> str:
        raise NotImplementedError


register_url_convertor("segment", _Segment())
register_url_convertor("version", _Version())


def _target(request: Request) -> tuple[str, int | None]:
    return request.path_params["model"], request.path_params.get("version")


def _decoded(body: bytes, packed: bool, take: Take, handle: Handle) -> PredictBody:
    return decode_predict(inflate(body, take) if packed else body, partial(_input_types, handle))


def _input_types(handle: Handle, signature_name: str) -> dict[str, tf.DType]:
    """The types of a signature's inputs; the words for an unknown one are not gRPC's, as in TF Serving."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in handle.signatures:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    signature = predict_signature(handle.signatures, name)
    return {name: spec.dtype for name, spec in signature.inputs.items()}


def _is_long(outputs: Tensors) -> bool:
    return sum(array.size for array in outputs.values()) > _QUICK_VALUES


def _json(value: Any) -> Response:
    return Response(json.dumps(value, indent=1).encode() + b"\n", media_type=_JSON)


async def _malformed(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise _malformed_request(scope)


def _malformed_request(scope: Scope) -> ServingError:
    return invalid(f"Malformed request: {scope['method']} {scope['path']}")


async def _refused(_request: Request, error: ServingError) -> Response:
    return _refusal(error)


def _refusal(error: ServingError) -> Response:
    if isinstance(error, UnreadBody):
        return Response(error_document(error.message), error.status, {"connection": "close"}, _JSON)
    return Response(error_document(error.message), http_status(error.code), media_type=_JSON)


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours: the trace goes to the log, not to the client."""
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return Response(error_document("Internal error"), HTTPStatus.INTERNAL_SERVER_ERROR, media_type=_JSON)
