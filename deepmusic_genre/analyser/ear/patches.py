"""What the network is given: pieces of 3 seconds, as spectrograms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
from scipy import fft
from scipy.signal import resample_poly

from deepmusic_genre.analyser.decode import RATE
from deepmusic_genre.analyser.ear.network import PATCH_FRAMES
from deepmusic_genre.analyser.spectra import Floats, magnitudes, triangles

MAX_PATCHES = 12
"""Patches of a sound. Of clips of 30 s, 3 are recognised in 71 % (artist-grouped), 6 in 74 %, and 10, which are all, in
75 %."""

BANDS = 96

_RATE = 16000
_WINDOW, _HOP = 512, 256
_COMMON = math.gcd(_RATE, RATE)
_SAMPLES = -(-((PATCH_FRAMES - 1) * _HOP + _WINDOW) * RATE // _RATE)
"""Samples of a patch at :data:`RATE`."""

_LINEAR_HZ, _HZ_A_STEP, _STEPS_A_FACTOR = 1000.0, 200 / 3, 27 / math.log(6.4)


def patches(samples: Floats) -> Iterator[Floats]:
    """Spectrograms of the middles of a sound's parts, of equal length, of which there are up to twelve.

    Args:
        samples: mono, ``[samples]`` at 22,050 Hz, a second or more.

    Yields:
        ``[187, 96]``: the logarithm of the power in bands. A sound of less than 3 seconds is repeated.
    """
    count = min(math.ceil(len(samples) / _SAMPLES), MAX_PATCHES)
    middles = (np.arange(count) + 0.5) * len(samples) / count
    for start in (middles - _SAMPLES / 2).clip(0, max(len(samples) - _SAMPLES, 0)).astype(int):
        frames = _spectrogram(samples[start : start + _SAMPLES])
        yield np.resize(frames, (PATCH_FRAMES, BANDS))


def _spectrogram(samples: Floats) -> Floats:
    """Power in bands ``[frames, 96]``, as musicnn was trained on it: log10(1 + 10,000 power)."""
    resampled = resample_poly(samples, _RATE // _COMMON, RATE // _COMMON)
    # That of a sine of amplitude 1 is a quarter of the squared window's length.
    power = np.concatenate([(spectrum * (_WINDOW / 4)) ** 2 for spectrum in magnitudes(resampled, _WINDOW, _HOP)])
    return np.asarray(np.log10(1 + 10_000 * (power @ _filters())), np.float32)


@cache
def _filters() -> Floats:
    """Triangles ``[lines, 96]`` of equal width in mel, each of area 1 over the frequency in Hz.

    Slaney: Auditory Toolbox, Interval Research, 1998.
    """
    lines = fft.rfftfreq(_WINDOW, 1 / _RATE)
    mel = np.linspace(0, _LINEAR_HZ / _HZ_A_STEP + _STEPS_A_FACTOR * math.log(_RATE / 2 / _LINEAR_HZ), BANDS + 2)
    above = _LINEAR_HZ * np.exp((mel - _LINEAR_HZ / _HZ_A_STEP) / _STEPS_A_FACTOR)
    edges = np.where(mel < _LINEAR_HZ / _HZ_A_STEP, mel * _HZ_A_STEP, above)
    return np.asarray(triangles(lines, edges) * 2 / (edges[2:] - edges[:-2]), np.float32)
