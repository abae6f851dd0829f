"""``ear``: a kernel machine on what a pretrained network hears in the sound, and on what the whole track is like.

The network is ``MSD_musicnn`` (Pons, Serra, musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging,
ISMIR 2019, late-breaking). Mean and standard deviation of its penultimate layer tell the genres apart. The vector of
:mod:`components.trainer.tangent` is beside them, and it alone tells how familiar a track is: to the network, speech is
as near to music as music.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from components.scoring.scores import Floats
from components.trainer.fitting import Fit, Task
from components.trainer.hyperparameters import EarHyperparameters
from components.trainer.space import Scaling, Space, fit_in_spaces
from components.trainer.tangent import tangent_space
from components.trainer.vectors import StoredVectors
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
        task: what to fit to, with the features ``ear`` and ``track_statistics``.
        chosen: hyper-parameters.

    Raises:
        PipelineInputError: there is a track without it.
    """
    space = EarSpace(N_EAR)
    space.build((None, N_EAR))
    tangent, scaling = tangent_space(task, chosen)
    spaces = [(space, _weighted(_scaling, chosen.ear_share)), (tangent, _weighted(scaling, 1 - chosen.ear_share))]
    return fit_in_spaces(spaces, task, chosen)


def _weighted(scaling: Scaling, share: float) -> Scaling:
    """A scaling of vectors to a share of what they vary by in all."""

    def weighted(vectors: StoredVectors) -> tuple[Floats, Floats]:
        center, factor = scaling(vectors)
        return center, factor * np.sqrt(share)

    return weighted


def _scaling(vectors: StoredVectors) -> tuple[Floats, Floats]:
    """Center and factor of each value, so that all vary alike, and the vectors by 1 in all."""
    center, deviation = vectors.mean_and_deviation()
    if not np.isfinite(center).all():
        raise PipelineInputError("ear learns from sound, and there is none of some of the tracks.")
    varies = deviation > 0
    # What no training track has says nothing of others.
    return center, np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0) / np.sqrt(max(varies.sum(), 1))
