"""Loads a SavedModel as TF Serving does and compares its answers with the trainer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.scoring.saved_model import Signature, request, run_signature, serving_session

TOLERANCE = 1e-5
"""Largest difference of a probability that is put down to rounding."""

Answer = Mapping[str, npt.NDArray[Any]]


def check_model(
    folder: str, examples: Sequence[bytes], expected: npt.NDArray[np.float32], genres: Sequence[str]
) -> list[str]:
    """Runs every signature of a SavedModel on real examples.

    Args:
        folder: the SavedModel.
        examples: serialized tf.Examples.
        expected: the trainer's probabilities for them, ``[len(examples), genres]``.
        genres: names in the order of the class index.

    Returns:
        What is wrong, a line a fault; empty for a model that may be pushed.
    """
    try:
        with serving_session(folder) as (session, signatures):
            return [
                f"signature {name}: {fault}"
                for name, signature in sorted(signatures.items())
                for fault in _signature_faults(session, signature, examples, expected, genres)
            ]
    except (tf.errors.OpError, OSError, ValueError, RuntimeError, KeyError) as error:
        return [f"it does not load as TF Serving loads it: {error}"]


def _signature_faults(
    session: tf.compat.v1.Session,
    signature: Signature,
    examples: Sequence[bytes],
    expected: npt.NDArray[np.float32],
    genres: Sequence[str],
) -> list[str]:
    inputs = request(set(signature.inputs), examples)
    if inputs is None:
        return [f"its inputs {', '.join(sorted(signature.inputs))} are none that a track has"]
    try:
        answer = run_signature(session, signature, inputs)
    except tf.errors.OpError as error:
        return [f"it fails: {error.message}"]
    return answer_faults(answer, expected, genres) if "probabilities" in answer else []


def answer_faults(answer: Answer, expected: npt.NDArray[np.float32], genres: Sequence[str]) -> list[str]:
    """What is wrong with an answer, a line a fault."""
    probabilities = answer["probabilities"]
    if probabilities.shape != expected.shape:
        return [f"probabilities have the shape {probabilities.shape}, not {expected.shape}"]
    faults = []
    difference = float(np.abs(probabilities - expected).max())
    if not difference <= TOLERANCE:
        faults.append(f"probabilities differ by {difference:.2g} from the trainer's, more than {TOLERANCE:g}")
    names = [[name.decode() for name in row] for row in answer["genres"]]
    if names != [list(genres)] * len(expected):
        faults.append("genres are not the genre list")
    best = probabilities.argmax(axis=1)
    if [name.decode() for name in answer["genre"]] != [genres[index] for index in best]:
        faults.append("genre is not the one of the highest probability")
    if not np.array_equal(answer["probability"], probabilities.max(axis=1)):
        faults.append("probability is not the highest of the probabilities")
    return faults
