"""TF Serving's gRPC interface. The published protos import TensorFlow, so that this module takes seconds to import."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from tensorflow import make_ndarray
from tensorflow.core.framework.types_pb2 import DT_STRING
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from deepmusic_genre.client.endpoint import (
    MAX_ANSWER_BYTES,
    SIGNATURE,
    Address,
    NotServedError,
    VersionStatus,
    busy,
    failed,
    no_safe_connection,
    no_server,
    not_tf_serving,
    not_this_model,
    refused,
)

_DEFAULT_PORT = 8500
_SIGNATURES = "signature_def"
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_send_message_length", -1),
    # gRPC tries a lost server again after a second at the earliest, unless told; until then every call fails at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_FAULTS: dict[grpc.StatusCode, Callable[[Address, object], Exception]] = {
    grpc.StatusCode.UNAVAILABLE: busy,
    grpc.StatusCode.RESOURCE_EXHAUSTED: busy,
    grpc.StatusCode.CANCELLED: busy,
    grpc.StatusCode.ABORTED: busy,
    grpc.StatusCode.INVALID_ARGUMENT: refused,
    grpc.StatusCode.FAILED_PRECONDITION: refused,
    grpc.StatusCode.OUT_OF_RANGE: refused,
    grpc.StatusCode.INTERNAL: failed,
    grpc.StatusCode.UNKNOWN: failed,
    grpc.StatusCode.DATA_LOSS: failed,
}
_UNREACHABLE = ("failed to connect", "errors resolving", "DNS resolution failed")
"""How gRPC itself begins what it says of a server that it has not reached."""


class GrpcTransport:
    """A model behind ``grpc://`` or ``grpcs://``; see :class:`deepmusic_genre.client.endpoint.Transport`."""

    def __init__(self, address: Address) -> None:
        """Sends nothing yet."""
        self._address = address
        host = address.parts.netloc.rpartition("@")[2]
        target = host if address.parts.port else f"{host}:{_DEFAULT_PORT}"
        proxy = ("grpc.http_proxy", address.proxy) if address.proxy else ("grpc.enable_http_proxy", 0)
        options = [*_OPTIONS, proxy]
        if address.parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, examples: Sequence[bytes], version: int, timeout_s: float) -> Any:
        """See the protocol."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._address.model
        request.model_spec.signature_name = SIGNATURE
        request.model_spec.version.value = version
        tensor = request.inputs["examples"]
        tensor.dtype = DT_STRING
        tensor.tensor_shape.dim.add(size=len(examples))
        tensor.string_val.extend(examples)
        response = self._call(self._predictions.Predict, request, timeout_s)
        if any(_size(output) > MAX_ANSWER_BYTES for output in response.outputs.values()):
            raise not_this_model(self._address, "it answers with more values than were sent")
        try:
            return {name: _plain(make_ndarray(output).tolist()) for name, output in response.outputs.items()}
        except (TypeError, ValueError) as error:
            raise not_this_model(self._address, error) from error

    def inputs(self, version: int, timeout_s: float) -> set[str]:
        """See the protocol."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[_SIGNATURES])
        request.model_spec.name = self._address.model
        request.model_spec.version.value = version
        response = self._call(self._predictions.GetModelMetadata, request, timeout_s)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[_SIGNATURES].Unpack(signatures)
        return {name for signature in signatures.signature_def.values() for name in signature.inputs}

    def versions(self, timeout_s: float) -> list[VersionStatus]:
        """See the protocol."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._address.model
        try:
            found = self._call(self._models.GetModelStatus, request, timeout_s).model_version_status
        except NotServedError:
            return []
        states = get_model_status_pb2.ModelVersionStatus.State
        return [VersionStatus(one.version, states.Name(one.state), one.status.error_message) for one in found]

    def close(self) -> None:
        """See the protocol."""
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any, timeout_s: float) -> Any:
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError from error
            raise self._fault(error.code(), error.details() or "") from error

    def _fault(self, code: grpc.StatusCode, told: str) -> Exception:
        if code == grpc.StatusCode.NOT_FOUND:
            return NotServedError(told)
        if code == grpc.StatusCode.UNIMPLEMENTED or "http1" in told:
            return not_tf_serving(self._address, f"{told} (is it the port for gRPC?)")
        if code == grpc.StatusCode.UNAVAILABLE and told.startswith(_UNREACHABLE):
            tls_fault = "handshake failed" in told
            return (no_safe_connection if tls_fault else no_server)(self._address, told)
        if "larger than max" in told:
            return refused(self._address, told)
        if code in _FAULTS:
            return _FAULTS[code](self._address, told)
        return not_tf_serving(self._address, f"it answers {code.name}: {told}")


def _size(tensor: Any) -> int:
    # A tensor of equal values may be sent as one of them, and a shape.
    return math.prod(dimension.size for dimension in tensor.tensor_shape.dim)


def _plain(values: Any) -> Any:
    """Nested lists, their bytes as text."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return values.decode("utf-8", "replace") if isinstance(values, bytes) else values
