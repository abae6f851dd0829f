"""The REST interface: an ASGI application, and the limits on what a connection may do."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httptools
import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.server.asgi import (
    HTML,
    JSON,
    MAX_BODY,
    NOT_FOUND_PAGE,
    Answer,
    Application,
    Body,
    Receive,
    Scope,
    Send,
    has_body,
    send_answer,
)
from serving.server.errors import ServingError, http_status, invalid
from serving.server.inference import classification, regression
from serving.server.json_examples import ExamplesBody, decode_examples, encode_classification, encode_regression
from serving.server.json_tensors import decode_predict, encode_predict
from serving.server.json_text import ENCODING_ERRORS, decimals, pretty
from serving.server.manager import Handle, VersionStatus
from serving.server.metrics import Metrics
from serving.server.service import Service, input_types
from serving.server.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Tensors
from serving.server.urls import ModelPath, is_api, malformed, parse_path

Result = TypeVar("Result")

MAX_BUFFERED = 4 * MAX_BODY
"""Bytes of the bodies of all requests at one time."""

MAX_HEADER = 64 << 10
"""Bytes of a request's line and headers."""

_LOG = logging.getLogger(__name__)
_QUICK_BYTES = 160 << 10
_QUICK_VALUES = 20_000
_LATE_S = 2.0
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)
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
        timeout_s: how long a request may take, from its first byte to its answer.
        cors: whether pages of other origins may use it.
        metrics_path: where the metrics are; None if nowhere.
        page: makes from the models what answers outside the interface; None for a bare 404.
    """

    timeout_s: float = 30
    cors: bool = False
    metrics_path: str | None = None
    page: Callable[[Service], Application] | None = None


class RestApplication:
    """Answers HTTP requests as TF Serving does."""

    def __init__(self, service: Service, settings: RestSettings) -> None:
        self._service = service
        self._settings = settings
        self._page = settings.page(service) if settings.page else None
        self._buffered = 0
        # One thread: only one large document is taken apart at a time, which bounds the memory.
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        if path == self._settings.metrics_path:
            await send_answer(send, _metrics_page(self._service.metrics))
        elif is_api(path):
            await send_answer(send, await self._api(scope, path, receive), _CORS if self._settings.cors else ())
        elif self._page is not None:
            await self._page(scope, receive, send)
        else:
            await send_answer(send, Answer(404, NOT_FOUND_PAGE, HTML, close=True))

    async def _api(self, scope: Scope, path: str, receive: Receive) -> Answer:
        deadline = time.monotonic() + self._settings.timeout_s
        headers = dict(scope["headers"])
        body = Body(receive, headers)
        try:
            return await asyncio.wait_for(
                self._within_time(scope["method"], path, headers, body, deadline), self._settings.timeout_s
            )
        except asyncio.TimeoutError:
            error = ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
        except ServingError as raised:
            error = raised
        except Exception:  # A fault of ours: the trace goes to the log, not to the client.
            _LOG.exception("%s %s", scope["method"], path)
            error = ServingError("INTERNAL", "Internal error")
        finally:
            self._buffered -= body.size
        return Answer(413 if body.too_large else http_status(error.code), _error(error.message), close=not body.ended)

    async def _within_time(
        self, method: str, path: str, headers: Mapping[bytes, bytes], body: Body, deadline: float
    ) -> Answer:
        if method == "OPTIONS" and self._settings.cors and _is_web_origin(headers.get(b"origin", b"")):
            return Answer(200, b"", close=True)
        target = parse_path(method, path)
        if method == "GET":
            return Answer(200, self._about(target), close=has_body(headers))
        if target.method not in ("predict", "classify", "regress"):
            raise malformed(method, path)
        with self._service.counted(target.model, target.method, "REST"):
            content = await body.read(self._grow)
            if b"gzip" in headers.get(b"content-encoding", b""):
                content = await self._aside(len(content) > _QUICK_BYTES >> 3, inflate, content)
            with self._service.models.use(target.model, target.version, target.label) as handle:
                if target.method == "predict":
                    return Answer(200, await self._predict(handle, content, deadline))
                return Answer(200, await self._examples(handle, target.method, content, deadline))

    async def _predict(self, handle: Handle, content: bytes, deadline: float) -> bytes:
        request = await self._aside(
            len(content) > _QUICK_BYTES, decode_predict, content, lambda name: input_types(handle, name), deadline
        )
        _, outputs = await self._service.predict(handle, request.signature, request.tensors)
        return await self._aside(_is_long(outputs), encode_predict, outputs, request.row)

    async def _examples(self, handle: Handle, method: str, content: bytes, deadline: float) -> bytes:
        request: ExamplesBody = await self._aside(len(content) > _QUICK_BYTES, decode_examples, content, deadline)
        shared = request.context.SerializeToString() if request.context else b""
        examples = [shared + example.SerializeToString() for example in request.examples]
        kind = CLASSIFY_METHOD if method == "classify" else REGRESS_METHOD
        _, outputs = await self._service.run_examples(handle, request.signature, kind, examples)
        encode = _classification_json if method == "classify" else _regression_json
        return await self._aside(_is_long(outputs), encode, outputs, len(examples))

    async def _aside(self, aside: bool, work: Callable[..., Result], *arguments: Any) -> Result:
        """Does what takes long in another thread, so that other requests go on."""
        if not aside:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._large, work, *arguments)

    def _grow(self, size: int) -> None:
        if self._buffered + size > MAX_BUFFERED:
            raise ServingError("RESOURCE_EXHAUSTED", "Too many large requests at the same time")
        self._buffered += size

    def _about(self, target: ModelPath) -> bytes:
        if not target.model:
            raise invalid("Missing model name in request.")
        if target.method == "metadata":
            with self._service.models.use(target.model, target.version, target.label) as handle:
                return _metadata_json(handle)
        return _status_json(self._service.models.status(target.model, target.version, target.label))


def limited_protocol(timeout_s: float) -> type[HttpToolsProtocol]:
    """Uvicorn's HTTP protocol for clients that send or read slowly, or send too much: such a connection is closed.

    Args:
        timeout_s: how long a request may take to arrive, and its answer to be made and read.
    """

    class LimitedProtocol(HttpToolsProtocol):
        """Uvicorn's protocol with a limit on a request's headers and on times."""

        _timer: asyncio.TimerHandle | None = None
        _in_headers = True
        _header_bytes = 0
        _completed = 0
        _answered = False

        # The base class's transport is narrower than asyncio's own declaration.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # Else an answer's second part waits for the client to acknowledge the first: 40 ms.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            completed = self._completed
            try:
                super().data_received(data)
            except httptools.HttpParserError:  # Uvicorn's answer to a request it cannot read may itself fail.
                self.transport.abort()
                return
            # Of data that end a request too, nothing counts: what follows in them is little.
            if self._in_headers and completed == self._completed:
                self._header_bytes += len(data)
                if self._header_bytes > MAX_HEADER:
                    self.transport.abort()

        def send_400_response(self, msg: str) -> None:
            body = _error(msg)
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

        def on_message_begin(self) -> None:
            self._answered = False
            self._start()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_headers = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._start()
            self._in_headers, self._header_bytes = True, 0
            self._completed += 1
            super().on_message_complete()

        def on_response_complete(self) -> None:
            self._answered = self._in_headers  # Else the rest of a request is yet to come.
            super().on_response_complete()

        def _start(self) -> None:
            self._cancel()
            # A little later than the application, which answers before it closes.
            self._timer = self.loop.call_later(timeout_s + _LATE_S, self._expire)

        def _expire(self) -> None:
            if not self._answered or self.transport.get_write_buffer_size():
                self.transport.abort()

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return LimitedProtocol


def inflate(body: bytes) -> bytes:
    """What a gzip body holds; nothing if it is broken or holds more than ``MAX_BODY``, as in TF Serving."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = inflater.decompress(body, MAX_BODY + 1)
    except zlib.error:
        return b""
    return content if inflater.eof and len(content) <= MAX_BODY else b""


def _is_long(outputs: Tensors) -> bool:
    return sum(array.size for array in outputs.values()) > _QUICK_VALUES


def _is_web_origin(origin: bytes) -> bool:
    return origin.startswith((b"http://", b"https://"))


def _classification_json(outputs: Tensors, examples: int) -> bytes:
    classes, scores = classification(outputs, examples)
    # A classify signature has one of the two, or it is refused before it runs.
    shape = (scores if classes is None else classes).shape  # type: ignore[union-attr]
    labels = np.full(shape, b"", object) if classes is None else classes
    texts = decimals(np.zeros(shape, np.float32) if scores is None else scores)
    width = shape[1]
    rows = [
        [
            (label.decode("utf-8", ENCODING_ERRORS), score)
            for label, score in zip(labels[place], texts[place * width : (place + 1) * width], strict=True)
        ]
        for place in range(examples)
    ]
    return encode_classification(rows)


def _regression_json(outputs: Tensors, examples: int) -> bytes:
    return encode_regression(regression(outputs, examples))


def _status_json(statuses: list[VersionStatus]) -> bytes:
    versions = [
        {
            "version": str(status.version),
            "state": status.state.name,
            "status": {"error_code": status.code, "error_message": status.message},
        }
        for status in statuses
    ]
    return json.dumps({"model_version_status": versions}, indent=1).encode() + b"\n"


def _metadata_json(handle: Handle) -> bytes:
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=handle.signature_protos)
    described = json_format.MessageToDict(signatures, preserving_proto_field_name=True, **{_ALL_FIELDS: True})
    spec = {"name": handle.model, "signature_name": "", "version": str(handle.version)}
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": described}}, indent=1).encode() + b"\n"


def _error(message: str) -> bytes:
    return pretty({"error": message}).encode("utf-8", "replace") + b"\n"


def _metrics_page(metrics: Metrics) -> Answer:
    return Answer(200, metrics.page().encode(), "text/plain; version=0.0.4")
