"""The trainer's own predictions, kept for checking the exported model."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.storage.files import fileio

REFERENCE_TRACKS = 32
"""How many tracks of the validation split are kept."""

_FILE = "reference.npz"


def save_reference(folder: str, examples: Sequence[bytes], probabilities: npt.NDArray[np.float32]) -> None:
    """Writes serialized examples and what the network answered.

    Args:
        folder: where to.
        examples: tf.Examples.
        probabilities: shape ``[len(examples), genres]``.
    """
    content = io.BytesIO()
    flat = np.frombuffer(b"".join(examples), np.uint8)
    np.savez(content, examples=flat, lengths=[len(example) for example in examples], probabilities=probabilities)
    with fileio.open(os.path.join(folder, _FILE), "wb") as file:
        file.write(content.getvalue())


def load_reference(folder: str) -> tuple[list[bytes], npt.NDArray[np.float32]]:
    """Reads what :func:`save_reference` wrote."""
    with fileio.open(os.path.join(folder, _FILE), "rb") as file:
        content = np.load(io.BytesIO(file.read()), allow_pickle=False)
    ends = np.cumsum(content["lengths"])
    parts = np.split(content["examples"], ends[:-1])
    return [part.tobytes() for part in parts], content["probabilities"]
