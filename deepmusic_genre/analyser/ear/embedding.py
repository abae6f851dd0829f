"""A sound's embedding."""

from __future__ import annotations

import numpy as np

from deepmusic_genre.analyser.ear.network import Network
from deepmusic_genre.analyser.ear.patches import patches
from deepmusic_genre.analyser.spectra import Floats


def embedding(samples: Floats, network: Network) -> Floats:
    """Mean, then standard deviation, of what the network hears in a sound's patches.

    Args:
        samples: mono, ``[samples]`` at 22,050 Hz, a second or more.
        network: See :func:`deepmusic_genre.analyser.ear.weights.network`.

    Returns:
        ``[400]``; of a sound of one patch the deviations are 0.
    """
    heard = np.stack([network(patch) for patch in patches(samples)])
    return np.concatenate([heard.mean(axis=0), heard.std(axis=0)])
