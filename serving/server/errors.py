"""What can go wrong with a request, as TF Serving's status codes."""

from __future__ import annotations

from http import HTTPStatus

import grpc
import tensorflow as tf

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_HTTP = {
    "OK": 200,
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_GRAPH_ERROR = "Graph execution error:\n\n"


class ServingError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: the name of a canonical status code, such as ``INVALID_ARGUMENT``.
        message: what the client reads.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str) -> ServingError:
    """An ``INVALID_ARGUMENT``."""
    return ServingError("INVALID_ARGUMENT", message)


def http_status(code: str) -> int:
    """The HTTP status of a canonical status code."""
    return _HTTP.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)


def code_number(code: str) -> int:
    """The canonical number of a status code."""
    return int(grpc.StatusCode[code].value[0])


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """What TensorFlow reports, without what only its Python interface adds."""
    message = (error.message or "").removeprefix(_GRAPH_ERROR)
    return ServingError(_NAMES.get(error.error_code, "UNKNOWN"), message)
