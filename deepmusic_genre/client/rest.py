"""TF Serving's REST interface."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from deepmusic_genre.client.endpoint import (
    MAX_ANSWER_BYTES,
    SIGNATURE,
    Address,
    EndpointError,
    NotServedError,
    VersionStatus,
    broken_off,
    busy,
    failed,
    no_safe_connection,
    no_server,
    not_tf_serving,
    refused,
)

_BUSY = {409, 429, 499, 502, 503, 504}
_OF_THE_REQUEST = {400, 413}
_T = TypeVar("_T")


class _Predicted(msgspec.Struct):
    outputs: Any


class _Fault(msgspec.Struct):
    error: str


class _Signature(msgspec.Struct):
    inputs: dict[str, Any] = msgspec.field(default_factory=dict)


class _SignatureMap(msgspec.Struct):
    signature_def: dict[str, _Signature]


class _Described(msgspec.Struct):
    signature_def: _SignatureMap


class _Metadata(msgspec.Struct):
    metadata: _Described


class _Status(msgspec.Struct):
    error_message: str = ""


class _Version(msgspec.Struct):
    version: int
    state: str
    status: _Status = msgspec.field(default_factory=_Status)


class _Versions(msgspec.Struct):
    model_version_status: list[_Version]


class RestTransport:
    """A model behind ``http://`` or ``https://``; see :class:`deepmusic_genre.client.endpoint.Transport`."""

    def __init__(self, address: Address) -> None:
        """Sends nothing yet.

        Raises:
            EndpointError: the address is none.
        """
        self._address = address
        self._model_url = f"{address.parts.geturl()}/v1/models/{quote(address.model, safe='')}"
        try:
            httpx.URL(self._model_url)
            # Given a transport, httpx leaves the environment's proxies to it.
            self._http = httpx.Client(transport=httpx.HTTPTransport(proxy=address.proxy))
        except httpx.InvalidURL as error:
            raise EndpointError(f"{address.shown} is no address: {error}.") from error
        except (ImportError, ValueError) as error:
            raise EndpointError(f"The proxy that the environment names cannot be used: {error}") from error

    def predict(self, examples: Sequence[bytes], version: int, timeout_s: float) -> Any:
        """See the protocol."""
        url = f"{self._model_url}/versions/{version}:predict"
        # Bytes become base64, as TF Serving wants them.
        inputs = {"examples": [{"b64": example} for example in examples]}
        body = msgspec.json.encode({"signature_name": SIGNATURE, "inputs": inputs})
        return self._decoded(self._call("POST", url, body, timeout_s), _Predicted).outputs

    def inputs(self, version: int, timeout_s: float) -> set[str]:
        """See the protocol."""
        content = self._call("GET", f"{self._model_url}/versions/{version}/metadata", None, timeout_s)
        signatures = self._decoded(content, _Metadata).metadata.signature_def.signature_def
        return {name for signature in signatures.values() for name in signature.inputs}

    def versions(self, timeout_s: float) -> list[VersionStatus]:
        """See the protocol."""
        try:
            content = self._call("GET", self._model_url, None, timeout_s)
        except NotServedError:
            return []
        found = self._decoded(content, _Versions).model_version_status
        return [VersionStatus(one.version, one.state, one.status.error_message) for one in found]

    def close(self) -> None:
        """See the protocol."""
        self._http.close()

    def _call(self, method: str, url: str, body: bytes | None, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        try:
            with self._http.stream(method, url, content=body, timeout=timeout_s) as response:
                content = self._read(response, deadline)
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except httpx.ConnectError as error:
            if _is_tls_fault(error):
                raise no_safe_connection(self._address, error) from error
            raise no_server(self._address, error) from error
        except httpx.RemoteProtocolError as error:
            if str(error).startswith("illegal"):
                raise not_tf_serving(self._address, f"{error} (is it the port for REST?)") from error
            raise broken_off(self._address, error) from error
        except httpx.RequestError as error:
            raise broken_off(self._address, error) from error
        if not response.is_success:
            raise self._fault(response, content)
        return content

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > MAX_ANSWER_BYTES:
                raise not_tf_serving(self._address, f"it sends more than {MAX_ANSWER_BYTES >> 20} MiB")
            # The library's limit is on a single read: a slow sender would never reach it.
            if time.monotonic() > deadline:
                raise TimeoutError
        return bytes(content)

    def _fault(self, response: httpx.Response, content: bytes) -> Exception:
        status = f"{response.status_code} {response.reason_phrase}"
        try:
            told = msgspec.json.decode(content, type=_Fault).error
        except (msgspec.DecodeError, RecursionError):
            # A proxy in between has its own words.
            return (
                busy(self._address, status)
                if response.status_code in _BUSY
                else not_tf_serving(self._address, f"it answers {status}")
            )
        if response.status_code in _BUSY:
            return busy(self._address, told)
        if response.status_code == httpx.codes.NOT_FOUND:
            return NotServedError(told)
        if response.is_server_error:
            return failed(self._address, told)
        if response.status_code in _OF_THE_REQUEST:
            return refused(self._address, told)
        return not_tf_serving(self._address, f"it answers {status}: {told}")

    def _decoded(self, content: bytes, of_type: type[_T]) -> _T:
        try:
            # Not msgspec's own reader: TF Serving writes NaN, which is no JSON. Its versions are texts.
            return msgspec.convert(json.loads(content), of_type, strict=False)
        except (ValueError, RecursionError) as error:
            raise not_tf_serving(self._address, error) from error


def _is_tls_fault(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or bool(error.__context__ and _is_tls_fault(error.__context__))
