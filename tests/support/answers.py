"""What a run's own model answered before it was exported."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.scoring.tracks import track_table
from components.trainer.reference import load_reference


def own_answers(model_run: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The ids of some tracks, and the probabilities ``[tracks, genres]`` that the fitted model gave them."""
    examples, probabilities = load_reference(str(model_run))
    return track_table(tf.data.Dataset.from_tensor_slices(examples))["track_id"].to_pylist(), probabilities
