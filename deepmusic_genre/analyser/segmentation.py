"""Where segments begin: at onsets, where energy rises in many bands at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import signal

from deepmusic_genre.analyser.decode import RATE
from deepmusic_genre.analyser.spectra import HOP, Floats

MIN_FRAMES = 5
"""Frames of the shortest segment: 58 ms."""

MAX_FRAMES = round(2 * RATE / HOP)
"""Frames of the longest segment, 2 s: what goes on for longer is divided."""

_LAG = 2
_PROMINENCE_DB = 1.5
_RANGE_DB = 60.0
# The window of a frame takes an onset in before its middle has reached it.
_EARLY = 1


def boundaries(power: Floats) -> npt.NDArray[np.intp]:
    """Frames at which segments begin, and the end.

    Onsets are peaks of the mean positive difference in dB between frames two apart (spectral flux; Dixon: Onset
    detection revisited, DAFx 2006). Levels count relative to the loudest moment, so that a louder copy of a sound has
    the same segments.

    Args:
        power: ``[frames, bands]``.

    Returns:
        ``[segments + 1]``, rising, the first 0 and the last ``len(power)``.
    """
    floor = max(float(power.max(initial=0)), 1e-20) * 10 ** (-_RANGE_DB / 10)
    level = 10 * np.log10(np.maximum(power, floor))
    rise = np.maximum(level[_LAG:] - level[:-_LAG], 0).mean(axis=1)
    peaks, _ = signal.find_peaks(np.pad(rise, (_LAG, 0)), distance=MIN_FRAMES, prominence=_PROMINENCE_DB)
    onsets = peaks + _EARLY
    onsets = onsets[(onsets >= MIN_FRAMES) & (onsets <= len(power) - MIN_FRAMES)]
    ends = np.concatenate([[0], onsets, [len(power)]])
    starts = [_divided(start, end) for start, end in pairwise(ends)]
    return np.concatenate([*starts, ends[-1:]])


def _divided(start: int, end: int) -> npt.NDArray[np.intp]:
    parts = -(-(end - start) // MAX_FRAMES)
    return np.asarray(start + np.round((end - start) * np.arange(parts) / parts), np.intp)
