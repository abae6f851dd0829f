"""Predict, Classify and Regress: what a request must bring, and what becomes of the model's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.server.errors import ServingError, invalid
from serving.server.signatures import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    PREDICT_METHOD,
    REGRESS_METHOD,
    Signature,
    Tensors,
    numpy_type,
    shape_text,
    type_name,
)

CLASSES = "classes"
SCORES = "scores"
_INPUTS = "inputs"
_REGRESSION = "outputs"


def predict_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """The signature that a predict request runs, by its name or, if that is empty, the default.

    Raises:
        ServingError: ``FAILED_PRECONDITION`` if the model has none of this name.
    """
    wanted = name or DEFAULT_SIGNATURE
    if wanted not in signatures:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{wanted}" not found.')
    signature = signatures[wanted]
    methods = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)
    if signature.method not in methods:
        raise invalid(
            f"Expected prediction signature method_name to be one of {{{', '.join(methods)}}}. Was: {signature.method}"
        )
    return signature


def check_inputs(signature: Signature, tensors: Tensors) -> None:
    """Checks that tensors are what a signature takes.

    TF Serving leaves a shape that does not fit to the graph, which fails as it may; here it is told beforehand.

    Raises:
        ServingError: ``INVALID_ARGUMENT``.
    """
    given, wanted = sorted(tensors), sorted(signature.inputs)
    if len(given) != len(wanted):
        extra, missing = sorted(set(given) - set(wanted)), sorted(set(wanted) - set(given))
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(wanted)} len({{{','.join(given)}}}) != "
            f"len({{{','.join(wanted)}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: "
            f"{{{','.join(missing)}}}."
        )
    for name, tensor in tensors.items():
        if name not in signature.inputs:
            raise invalid(
                f"input tensor alias not found in signature: {name}. Inputs expected to be in the set "
                f"{{{','.join(wanted)}}}."
            )
        spec = signature.inputs[name]
        if tensor.dtype != numpy_type(spec.dtype):
            got = "string" if tensor.dtype == object else type_name(tf.as_dtype(tensor.dtype))
            raise invalid(f"Expects input {name} to be {type_name(spec.dtype)} but {got} is provided")
        if not spec.takes(tensor):
            raise invalid(
                f"Expects input {name} to have shape {shape_text(spec.shape or ())} but {shape_text(tensor.shape)} is "
                "provided"
            )


def filter_outputs(signature: Signature, wanted: Sequence[str]) -> Sequence[str]:
    """The names of the outputs to answer with: those wanted, or all.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` for a name that is unknown or comes twice.
    """
    for place, name in enumerate(wanted):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{{{','.join(signature.outputs)}}}."
            )
        if name in wanted[:place]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return wanted or list(signature.outputs)


def example_signature(signatures: Mapping[str, Signature], name: str, method: str) -> Signature:
    """The signature that a classify or regress request runs.

    Args:
        signatures: the model's.
        name: of the one wanted; an empty one is the default.
        method: ``CLASSIFY_METHOD`` or ``REGRESS_METHOD``.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` or ``FAILED_PRECONDITION`` if it cannot.
    """
    kind = "classification" if method == CLASSIFY_METHOD else "regression"
    wanted = name or DEFAULT_SIGNATURE
    if wanted not in signatures:
        raise invalid(f"No signature was found with the name: {wanted}")
    signature = signatures[wanted]
    if signature.method != method:
        raise invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if _INPUTS not in signature.inputs:
        raise ServingError("FAILED_PRECONDITION", f"No {kind} inputs found in SignatureDef: {wanted}")
    answers = {CLASSES, SCORES} if method == CLASSIFY_METHOD else {_REGRESSION}
    if not answers & signature.outputs.keys():
        raise ServingError("FAILED_PRECONDITION", f"No {kind} outputs found in SignatureDef: {wanted}")
    return signature


def example_tensors(examples: Sequence[bytes]) -> Tensors:
    """What a classify or regress signature is fed: serialized tf.Examples."""
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return {_INPUTS: array}


def classification(outputs: Tensors, examples: int) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
    """The classes, bytes ``[examples, classes]``, and the scores, float32 of the same shape, as far as there are any.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` if the model answers with another shape or type.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, wanted in ((CLASSES, classes, tf.string), (SCORES, scores, tf.float32)):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}")
        if array.dtype != numpy_type(wanted):
            raise invalid(f"Expected {name} Tensor of {wanted.name}. Got: {array.dtype}")
        if len(array) != examples:
            raise invalid(f"Expected {name} output batch size of {examples}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return classes, scores


def regression(outputs: Tensors, examples: int) -> npt.NDArray[np.float32]:
    """The values, float32 ``[examples]``.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` if the model answers with another shape or type.
    """
    values = outputs[_REGRESSION]
    if values.shape not in ((examples,), (examples, 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values.shape)}"
        )
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype}")
    return values.reshape(examples)
