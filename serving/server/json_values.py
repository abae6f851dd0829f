"""JSON in and out: standard JSON, with NaN and the infinities where clients or models have them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from serving.server.errors import ServingError, invalid

MAX_VALUES = 16_000_000
"""Values a document may hold, so that the tree in memory stays below some 1 GB."""

_NOT_FINITE = (b"NaN", b"Infinity")
_INT64_DIGITS = 20
_OBJECT = 8
"""Numbers in a list that take as much memory as an object."""


def parse(body: bytes) -> dict[str, Any]:
    """Reads a document, which must be an object.

    Raises:
        ServingError: ``INVALID_ARGUMENT``, or ``RESOURCE_EXHAUSTED`` for too many values.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    # Every value is a byte at least.
    if len(body) > MAX_VALUES and _values(body) > MAX_VALUES:
        raise ServingError("RESOURCE_EXHAUSTED", f"JSON documents of more than {MAX_VALUES} values are not read")
    with _no_collection():
        value, fault = _loaded(body)
    if fault:
        # Not where the parser's error is handled: that one holds the document.
        raise invalid(f"JSON Parse error: {fault}")
    if not isinstance(value, dict):
        raise invalid("JSON Value: the document Is not object")
    return value


def error_document(message: str) -> bytes:
    """An error as its client reads it; the message may hold any text."""
    return json.dumps({"error": message}).encode() + b"\n"


def _values(body: bytes) -> int:
    """How many values a document may have; an object counts as many as take its memory."""
    return body.count(b",") + body.count(b"[") + _OBJECT * body.count(b"{")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps the garbage collector from walking through what is read, again and again.

    It finds nothing there, makes a large document take three times as long, and holds up all other requests.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _loaded(body: bytes) -> tuple[Any, str]:
    """A document's value, or what is wrong with it."""
    try:
        return orjson.loads(body), ""
    except orjson.JSONDecodeError as error:
        fault = str(error)
    if not any(name in body for name in _NOT_FINITE):
        return None, fault
    try:
        return json.loads(body, parse_int=_integer), ""
    except RecursionError:
        return None, "lists and objects are nested too deep"
    except ValueError as error:
        return None, str(error)


def _integer(digits: str) -> float:
    """As orjson reads it: a float where 64 bits do not hold it."""
    return int(digits) if len(digits) <= _INT64_DIGITS else float(digits)
