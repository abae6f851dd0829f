"""``ear``: a kernel machine on what a pretrained network hears in the sound.

The network is ``MSD_musicnn`` (Pons, Serra, musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging,
ISMIR 2019, late-breaking). A kernel machine (:mod:`components.trainer.kernel_machine`) tells the genres apart by mean
and standard deviation of its penultimate layer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.scoring.scores import Floats
from components.trainer.fitting import Fit, Task
from components.trainer.hyperparameters import EarHyperparameters
from components.trainer.space import Space, fit_in_space, mean_and_deviation
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR


class EarSpace(Space):
    """Scales what the network hears."""

    feature = EAR_FEATURE
    size = N_EAR

    def vector(self, tracks: tf.Tensor) -> tf.Tensor:
        """The values as they are."""
        return tracks


def fit_ear(task: Task, chosen: EarHyperparameters) -> Fit:
    """Fits the kernel machine to all training tracks.

    Args:
        task: what to fit to, with the feature ``ear``.
        chosen: hyper-parameters.

    Raises:
        PipelineInputError: there is a track without it.
    """
    space = EarSpace(N_EAR)
    space.build((None, N_EAR))
    return fit_in_space(space, _scaling, task, chosen)


def _scaling(vectors: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Center and factor of each value, so that all vary alike, and the vectors by 1 in all."""
    center, deviation = mean_and_deviation(vectors)
    if not np.isfinite(center).all():
        raise PipelineInputError("ear learns from sound, and there is none of some of the tracks.")
    varies = deviation > 0
    # What no training track has says nothing of others.
    return center, np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0) / np.sqrt(max(varies.sum(), 1))
