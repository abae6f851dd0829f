"""Predict: what a request must bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from serving.server.errors import ServingError, invalid
from serving.server.signatures import (
    DEFAULT_SIGNATURE,
    PREDICT_METHOD,
    Signature,
    Tensors,
    numpy_type,
    shape_text,
    type_name,
)


def predict_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """The signature that a predict request runs, by its name or, if that is empty, the default.

    Raises:
        ServingError: ``FAILED_PRECONDITION`` if the model has none of this name.
    """
    wanted = name or DEFAULT_SIGNATURE
    if wanted not in signatures:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{wanted}" not found.')
    signature = signatures[wanted]
    if signature.method != PREDICT_METHOD:
        raise invalid(f"Expected prediction signature method_name to be {PREDICT_METHOD}. Was: {signature.method}")
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
