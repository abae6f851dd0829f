"""A SavedModel's signatures, and which tensors fit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"

Tensors = dict[str, npt.NDArray[Any]]
"""Arrays by the name of a signature's input or output; text as objects of bytes."""

_TYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


@dataclass(frozen=True)
class TensorSpec:
    """A signature's input or output.

    Attributes:
        tensor: its name in the graph.
        dtype: its type.
        shape: -1 where a dimension is not fixed; None if not even the rank is.
    """

    tensor: str
    dtype: tf.DType
    shape: tuple[int, ...] | None = None

    def takes(self, array: npt.NDArray[Any]) -> bool:
        """Whether an array's shape is one of the shapes meant."""
        if self.shape is None:
            return True
        return len(self.shape) == array.ndim and all(
            size in (-1, actual) for size, actual in zip(self.shape, array.shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """What can be asked of a model: its inputs and outputs, by name in alphabetical order."""

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


def read_signature(name: str, proto: Any) -> Signature:
    """The signature in a MetaGraphDef."""
    return Signature(name, proto.method_name, _specs(proto.inputs), _specs(proto.outputs))


def type_name(dtype: tf.DType) -> str:
    """A type as TF Serving calls it in its messages."""
    return _TYPE_NAMES.get(dtype.name, dtype.name)


def numpy_type(dtype: tf.DType) -> np.dtype[Any]:
    """The type of the arrays that hold a tensor."""
    return np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as TF Serving writes it."""
    return f"[{','.join(map(str, shape))}]"


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(infos[name]) for name in sorted(infos)}


def _spec(info: Any) -> TensorSpec:
    shape = info.tensor_shape
    return TensorSpec(
        info.name, tf.as_dtype(info.dtype), None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
    )
