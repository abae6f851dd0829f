"""Classify's and Regress's JSON: requests to tf.Examples, results to answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.server.errors import invalid
from serving.server.json_tensors import decode_base64, is_base64, kind_of, signature_name
from serving.server.json_text import ENCODING_ERRORS, BrokenAtEnd, Literal, OneLine, decimals, parse, pretty, shown

_LARGEST_INT64 = 2**63 - 1


@dataclass(frozen=True)
class ExamplesBody:
    """A classify or regress request's JSON: the signature's name or an empty one, the examples, what they share."""

    signature: str
    examples: Sequence[tf.train.Example]
    context: tf.train.Example | None


def decode_examples(body: bytes, deadline: float = math.inf) -> ExamplesBody:
    """Reads a classify or regress request.

    Args:
        body: its JSON.
        deadline: see :func:`serving.server.json_text.parse`.

    Raises:
        ServingError: with TF Serving's code and message.
    """
    document = parse(body, deadline)
    signature = signature_name(document)
    context = _example(document["context"]) if "context" in document else None
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    return ExamplesBody(signature, [_example(example) for example in examples], context)


def encode_classification(results: Sequence[Sequence[tuple[str, Literal]]]) -> bytes:
    """Writes the classes of each example: pairs of a label and a score in JSON."""
    if not results:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = BrokenAtEnd(OneLine(OneLine(pair) for pair in classes) for classes in results)
    return pretty({"results": rows}).encode("utf-8", ENCODING_ERRORS)


def encode_regression(values: npt.NDArray[np.float32]) -> bytes:
    """Writes a value an example, float32 ``[examples]``."""
    if not len(values):
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return pretty({"results": OneLine(decimals(values))}).encode()


def _example(value: Any) -> tf.train.Example:
    if not isinstance(value, Mapping):
        raise invalid(f"Example must be JSON object but got JSON {kind_of(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        feature = tf.train.Feature()
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)
        example.features.feature[name.encode("utf-8", "replace").decode()].CopyFrom(feature)
    return example


def _add(value: Any, name: str, feature: tf.train.Feature) -> None:
    kind, converted = _converted(value, name)
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        expected = known.removesuffix("_list")
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
    getattr(feature, kind).value.append(converted)


def _converted(value: Any, name: str) -> tuple[str, Any]:
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", ENCODING_ERRORS)
    if is_base64(value):
        return "bytes_list", decode_base64(value["b64"])
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, int):
        if value > _LARGEST_INT64:
            raise invalid(f"Feature: {name} has uint64 element. Only int64_t is supported.")
        return "int64_list", value
    if isinstance(value, float):
        with np.errstate(over="ignore"):
            return "float_list", float(np.float32(value))
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
