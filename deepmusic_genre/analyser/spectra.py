"""Short-time spectra of a sound: power in bands for onsets and timbre, magnitude by pitch class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from deepmusic_genre.analyser.decode import RATE

Floats = npt.NDArray[np.float32]

HOP = 256
"""Samples from one frame of :func:`band_power` to the next: 11.6 ms."""

CHROMA_HOP = 1024
"""Samples from one frame of :func:`chroma` to the next."""

BANDS = 32

_BAND_WINDOW = 1024
_CHROMA_WINDOW = 8192
_LOWEST_BAND_HZ = 30.0
_LOWEST_C_HZ = 65.406
_OCTAVES = 6
_CHROMA_WIDTH = 0.3
"""Semitones: the deviation of the bell around each pitch. Wider ones blur neighbours, narrower ones mind the tuning."""

_FRAMES_TOGETHER = 512
# The power of a sine of amplitude 1 in a Hann window's main lobe, in units of its highest bin.
_LOBE = 1.5


def band_power(samples: Floats) -> Floats:
    """Power in 32 bands of equal width in mel, from 30 Hz to 11 kHz.

    Args:
        samples: mono, ``[samples]`` at 22,050 Hz.

    Returns:
        ``[frames, 32]``; the bands of a sine of amplitude 1 sum to 1. Frame ``i`` is centred at sample ``256 i``.
    """
    filters = _band_filters()
    padded = np.pad(samples, _BAND_WINDOW // 2)
    power = np.concatenate([spectrum**2 @ filters for spectrum in magnitudes(padded, _BAND_WINDOW, HOP)])
    return np.asarray(power / _LOBE, np.float32)


def chroma(samples: Floats) -> Floats:
    """Magnitude by pitch class, C to B, over the six octaves from 65 Hz to 4 kHz.

    Fujishima: Realtime chord recognition of musical sound, ICMC 1999; here each spectral line counts by its distance
    from the pitch, in semitones, as a bell. White noise has as much of each class.

    Returns:
        ``[frames, 12]``. Frame ``i`` is centred at sample ``1024 i``.
    """
    filters = _chroma_filters()
    lines, padded = len(filters), np.pad(samples, _CHROMA_WINDOW // 2)
    spectra = magnitudes(padded, _CHROMA_WINDOW, CHROMA_HOP)
    return np.concatenate([spectrum[:, :lines] @ filters for spectrum in spectra])


def magnitudes(samples: Floats, window: int, hop: int) -> Iterator[Floats]:
    """Spectra of the frames that lie wholly in a sound, a block at a time so that memory does not grow with them.

    Yields:
        ``[up to 512 frames, window / 2 + 1]``; a sine of amplitude 1 has 1 in the line of its frequency.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    bell = np.hanning(window + 1)[:-1].astype(np.float32)
    bell /= bell.sum() / 2
    for start in range(0, len(frames), _FRAMES_TOGETHER):
        yield np.abs(fft.rfft(frames[start : start + _FRAMES_TOGETHER] * bell)).astype(np.float32, copy=False)


@cache
def _band_filters() -> Floats:
    """Triangles ``[lines, bands]`` whose sum is 1 between the middles of the first and the last band."""
    lines = fft.rfftfreq(_BAND_WINDOW, 1 / RATE)
    edges = _hertz(np.linspace(_mel(_LOWEST_BAND_HZ), _mel(RATE / 2), BANDS + 2))
    return np.asarray(triangles(lines, edges), np.float32)


def triangles(lines: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights ``[lines, bands]`` of lines in bands that each rise to 1 from an edge to the next, and fall to the third.

    Args:
        lines: frequencies, ``[lines]``.
        edges: frequencies, ``[bands + 2]``.
    """
    rising = (lines[:, np.newaxis] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - lines[:, np.newaxis]) / np.diff(edges)[1:]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


@cache
def _chroma_filters() -> Floats:
    """Bells ``[lines, 12]`` around the pitches of each class in all octaves."""
    lines = fft.rfftfreq(_CHROMA_WINDOW, 1 / RATE)
    semitones = 12 * np.log2(np.maximum(lines, 1) / _LOWEST_C_HZ)
    within = semitones < 12 * _OCTAVES - 0.5
    semitones = semitones[within]
    distance = (semitones[:, np.newaxis] - np.arange(12) + 6) % 12 - 6
    bells = np.exp(-0.5 * (distance / _CHROMA_WIDTH) ** 2) * (semitones >= -0.5)[:, np.newaxis]
    return np.asarray(bells / bells.sum(axis=0), np.float32)


def _mel(hertz: float) -> float:
    """O'Shaughnessy: Speech Communication, 1987."""
    return float(2595 * np.log10(1 + hertz / 700))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))
