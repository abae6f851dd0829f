"""Predict's JSON: requests to tensors, tensors to answers."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from reprlib import repr as shown
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import tensorflow as tf

from serving.server.errors import ServingError, invalid
from serving.server.json_values import parse
from serving.server.signatures import Tensors, numpy_type, shape_text, type_name

MAX_RANK = 254
"""TensorFlow's own limit."""

_FLOATS = (tf.float32, tf.float64)
_INTEGERS = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64)
_SUPPORTED = (*_FLOATS, *_INTEGERS, tf.string, tf.bool)
_BYTES_SUFFIX = "_bytes"


@dataclass(frozen=True)
class PredictBody:
    """A predict request's JSON.

    Attributes:
        signature: Name of the signature; empty for the default.
        tensors: Arrays by input name.
        row: Whether the request came as ``instances``, not as ``inputs``; the answer is ``predictions`` then.
    """

    signature: str
    tensors: Tensors
    row: bool


def decode_predict(body: bytes, input_types: Callable[[str], Mapping[str, tf.DType]]) -> PredictBody:
    """Reads a predict request.

    Args:
        body: JSON of the request.
        input_types: Function from a signature's name, which may be empty, to the types of its inputs by name.

    Raises:
        ServingError: with TF Serving's code and message.
    """
    document = parse(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid("JSON Value: not formatted correctly. 'signature_name' key must be a string value.")
    types = input_types(signature)
    if not types:
        raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    if "instances" in document:
        if "inputs" in document:
            raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
        return PredictBody(signature, _from_instances(document["instances"], types), row=True)
    if "inputs" in document:
        return PredictBody(signature, _from_inputs(document["inputs"], types), row=False)
    raise invalid("Missing 'inputs' or 'instances' key")


def encode_predict(outputs: Tensors, row: bool) -> bytes:
    """Writes an answer.

    Args:
        outputs: arrays by name.
        row: whether one entry a row, else one entry an output.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` if the outputs have no common first dimension, or a type JSON has not.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    columns = {name: _column(name, outputs[name]) for name in sorted(outputs)}
    answer = {"predictions": _by_row(columns, outputs)} if row else {"outputs": _unnamed(columns)}
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values()):
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(answer, default=lambda array: array.tolist()).encode()


def decode_base64(text: str) -> bytes:
    """Bytes from base64 with the standard alphabet, padded or not."""
    stripped = text.rstrip("=")
    try:
        decoded = binascii.a2b_base64(stripped + "=" * (-len(stripped) % 4))
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None
    # What is not of the alphabet was skipped.
    if len(stripped) % 4 == 1 or len(decoded) != len(stripped) * 3 // 4:
        raise invalid("Unable to base64 decode")
    return decoded


def _is_base64(value: Any) -> bool:
    """Whether a value is ``{"b64": "…"}``."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _kind(value: Any) -> str:
    """What RapidJSON calls a value's type."""
    if isinstance(value, bool):
        return str(value)
    kinds = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def _from_instances(instances: Any, types: Mapping[str, tf.DType]) -> Tensors:
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for place, instance in enumerate(instances):
        if named != _is_named(instance):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {place} of input list")
        if named and instance.keys() != types.keys():
            unknown = next((name for name in instance if name not in types), None)
            fault = f"does not have named input: {unknown}" if unknown else f"keys must be equal to: {','.join(types)}"
            raise invalid(f"Failed to process element: {place} of 'instances' list. JSON object: {fault}")
    if not named:
        return {name: _rows(instances, dtype, "") for name, dtype in types.items()}
    return {
        name: _rows([instance[name] for instance in instances], dtype, f" key: {name}") for name, dtype in types.items()
    }


def _rows(values: list[Any], dtype: tf.DType, where: str) -> npt.NDArray[Any]:
    dense = _dense(values, dtype)
    if dense is not None:
        return dense
    shape = _shape(values[0])
    flat: list[Any] = []
    for place, value in enumerate(values):
        try:
            _flatten(value, shape, dtype, flat)
        except ServingError as error:
            message = f"Failed to process element: {place}{where} of 'instances' list. Error: {error}"
            raise ServingError(error.code, message) from None
    return _array(flat, (len(values), *shape), dtype)


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and not _is_base64(instance)


def _from_inputs(inputs: Any, types: Mapping[str, tf.DType]) -> Tensors:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(types) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {min(types): inputs}
    tensors = {}
    for name in sorted(types):
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = _tensor(inputs[name], types[name])
    return tensors


def _tensor(value: Any, dtype: tf.DType) -> npt.NDArray[Any]:
    dense = _dense(value, dtype)
    if dense is not None:
        return dense
    shape = _shape(value)
    flat: list[Any] = []
    _flatten(value, shape, dtype, flat)
    return _array(flat, shape, dtype)


def _dense(value: Any, dtype: tf.DType) -> npt.NDArray[Any] | None:
    """A rectangular list of lists as an array; None if anything about it needs a closer look."""
    shape: list[int] = []
    level = [value]
    while type(level[0]) is list:
        if set(map(type, level)) != {list} or len(shape) == MAX_RANK:
            return None
        sizes = set(map(len, level))
        if len(sizes) > 1 or 0 in sizes:
            return None
        shape.extend(sizes)
        level = list(chain.from_iterable(level))
    if dtype in _FLOATS:
        numbers = _doubles(level)
        return None if numbers is None else _floats(numbers, tuple(shape), dtype)
    kinds = set(map(type, level))
    if dtype == tf.string and kinds == {str}:
        return _array(level, tuple(shape), dtype)
    if dtype in _INTEGERS and kinds == {int} and dtype.min <= min(level) and max(level) <= dtype.max:
        return _array(level, tuple(shape), dtype)
    return None


def _doubles(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """Numbers as an array, a quarter of the time that numpy takes; None if one of them is none."""
    try:
        numbers = np.frombuffer(struct.pack(f"{len(values)}d", *values))
    except struct.error:
        return None
    # true and false are packed, too; mostly few numbers could be one.
    places = np.flatnonzero((numbers == 0) | (numbers == 1))
    doubtful = values if len(places) > len(values) // 4 else map(values.__getitem__, places.tolist())
    return None if bool in set(map(type, doubtful)) else numbers


def _shape(value: Any) -> tuple[int, ...]:
    """A value's shape, if its other elements are like the first ones."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > MAX_RANK:
            raise invalid(f"JSON Value: {shown(value)} is nested deeper than {MAX_RANK} lists")
        value = value[0] if value else None
    return tuple(shape)


def _flatten(value: Any, shape: tuple[int, ...], dtype: tf.DType, flat: list[Any]) -> None:
    """Adds a value's numbers or texts in order."""
    if _shape(value)[:1] != shape[:1]:
        raise invalid(f"Expecting shape {shape_text(shape)} but got: {shape_text(_shape(value))}")
    if not shape:
        flat.append(_leaf(value, dtype))
        return
    for element in value:
        _flatten(element, shape[1:], dtype, flat)


def _leaf(value: Any, dtype: tf.DType) -> Any:
    if isinstance(value, dict) and dtype == tf.string:
        if not _is_base64(value):
            raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
        return decode_base64(value["b64"])
    if dtype not in _SUPPORTED and not isinstance(value, dict):
        raise ServingError("UNIMPLEMENTED", f"Conversion of JSON Value: {shown(value)} to type: {type_name(dtype)}")
    kind = type(value)
    fits = (
        (dtype in _FLOATS and kind in (int, float))
        or (dtype == tf.string and kind is str)
        or (dtype == tf.bool and kind is bool)
        or (dtype in _INTEGERS and kind is int and dtype.min <= value <= dtype.max)
    )
    if not fits:
        raise invalid(f"JSON Value: {shown(value)} Type: {_kind(value)} is not of expected type: {type_name(dtype)}")
    return value


def _array(flat: Sequence[Any], shape: tuple[int, ...], dtype: tf.DType) -> npt.NDArray[Any]:
    if dtype == tf.string:
        array = np.empty(len(flat), object)
        array[:] = [text.encode("utf-8", "replace") if isinstance(text, str) else text for text in flat]
        return array.reshape(shape)
    if dtype in _FLOATS:
        return _floats(np.array(flat, np.float64), shape, dtype)
    return np.array(flat, numpy_type(dtype)).reshape(shape)


def _floats(numbers: npt.NDArray[np.float64], shape: tuple[int, ...], dtype: tf.DType) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # A number too large for float32 is infinite.
        return numbers.astype(numpy_type(dtype)).reshape(shape)


def _by_row(columns: Mapping[str, Any], outputs: Tensors) -> Any:
    sizes = set()
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        sizes.add(len(array))
        if len(sizes) > 1:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)}")
    if len(columns) == 1:
        return _unnamed(columns)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _unnamed(columns: Mapping[str, Any]) -> Any:
    """The only column by itself."""
    return columns if len(columns) > 1 else next(iter(columns.values()))


def _column(name: str, array: npt.NDArray[Any]) -> Any:
    """What JSON writes of an array: numbers as an array, text as lists."""
    if array.dtype == object:
        texts = np.empty(array.size, object)
        if name.endswith(_BYTES_SUFFIX):
            texts[:] = [{"b64": base64.b64encode(text).decode()} for text in array.ravel()]
        else:
            texts[:] = [text.decode("utf-8", "replace") for text in array.ravel()]
        return texts.reshape(array.shape).tolist()
    if array.dtype in (np.float32, np.float64) or array.dtype.kind in "iub":
        # Without a dimension or without an element, it is not what orjson takes for an array.
        return np.ascontiguousarray(array) if array.ndim and array.size else array.tolist()
    raise invalid(f"Failed to write JSON value for tensor type: {type_name(tf.as_dtype(array.dtype))}")
