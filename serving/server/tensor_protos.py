"""gRPC's messages: TensorProtos to arrays and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.errors import ServingError, invalid
from serving.server.signatures import Tensors, numpy_type

MAX_ELEMENTS = 1 << 25
"""Elements of a tensor that a request may describe: a few bytes can describe any number of equal ones."""

_MAX_RANK = 254
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int64: "int64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    **dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8, tf.uint16), "int_val"),
}


def read_tensors(protos: Any) -> Tensors:
    """The arrays of a request's inputs.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` with TF Serving's words where a tensor is not one.
    """
    return {name: _read_tensor(name, protos[name]) for name in protos}


def write_tensor(array: npt.NDArray[Any]) -> tensor_pb2.TensorProto:
    """An array as TF Serving answers with it: a value an entry, not packed bytes.

    Raises:
        ServingError: ``UNIMPLEMENTED`` for a type that has no such field here.
    """
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if dtype not in _FIELDS:
        raise ServingError("UNIMPLEMENTED", f"Outputs of type {dtype.name} are not supported")
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


def _read_tensor(name: str, proto: tensor_pb2.TensorProto) -> npt.NDArray[Any]:
    error = invalid(f"tensor parsing error: {name}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or len(shape) > _MAX_RANK or any(size < 0 for size in shape):
        raise error
    # A tensor without elements may still have any number of rows.
    if math.prod(size or 1 for size in shape) > MAX_ELEMENTS:
        raise invalid(f"tensor {name} has more than {MAX_ELEMENTS} elements")
    try:
        dtype = tf.as_dtype(proto.dtype)
    except TypeError:
        raise error from None
    if dtype not in _FIELDS:
        raise error
    count = math.prod(shape)
    if proto.tensor_content:
        if dtype == tf.string or len(proto.tensor_content) != count * dtype.size:
            raise error
        return np.frombuffer(proto.tensor_content, numpy_type(dtype)).reshape(shape)
    values = list(getattr(proto, _FIELDS[dtype]))
    if dtype.is_integer and values and not (dtype.min <= min(values) and max(values) <= dtype.max):
        raise error
    if len(values) > count:
        raise error
    array = np.empty(count, numpy_type(dtype))
    array[: len(values)] = values
    # TensorFlow repeats the last value; of none at all it makes zeros.
    empty = b"" if dtype == tf.string else 0
    array[len(values) :] = values[-1] if values else empty
    return array.reshape(shape)
