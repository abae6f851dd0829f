"""A sound file's analysis: segments with their timbre and pitches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from deepmusic_genre.analyser.decode import RATE, InvalidAudio, decode
from deepmusic_genre.analyser.ear.embedding import embedding
from deepmusic_genre.analyser.ear.weights import network
from deepmusic_genre.analyser.segmentation import boundaries
from deepmusic_genre.analyser.spectra import CHROMA_HOP, HOP, Floats, band_power, chroma
from deepmusic_genre.analyser.timbre import FULL_SCALE_DB, load_basis, timbre

_SILENT_LOUDNESS = 1.0
# Below these, fewer than nine of ten answers of a model for clips at usual rates and levels stayed what they were.
_LOW_RATE = RATE
_LOW_LEVEL = 35.0
# Loudness of the loudest segment, the median of some hundred published recordings; the softest of them has 44.
_USUAL_LEVEL = 54.0


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of a sound, in the terms of Spotify's audio analysis.

    Attributes:
        duration: seconds.
        durations: of each segment, seconds, float64 ``[segments]``; they fill the duration from its beginning.
        timbre: float32 ``[segments, 12]``, see :func:`deepmusic_genre.analyser.timbre.timbre`.
        pitches: float32 ``[segments, 12]``, C to B, the strongest of each segment that sounds at 1.
        notes: What was amiss with a sound that was analysed all the same. Each begins with its kind and a colon.
        ear: float32 ``[400]``, see :func:`deepmusic_genre.analyser.ear.embedding.embedding`; None where none was asked
            for.
    """

    duration: float
    durations: npt.NDArray[np.float64]
    timbre: Floats
    pitches: Floats
    notes: tuple[str, ...] = ()
    ear: Floats | None = None


def analyser_name() -> str:
    """What an analysis says that it was made by: only values of one name are comparable."""
    return load_basis().name


def analyse(file: BinaryIO, middle: float | None = None, pretrained: bool = False) -> Analysis:
    """Analyses a sound file; one of a level that no published recording has, as if it had the usual one.

    Args:
        file: See :func:`deepmusic_genre.analyser.decode.decode`.
        middle: Seconds from the middle that are analysed of a longer sound; None for all of it.
        pretrained: Whether the pretrained network hears it, too.

    Raises:
        InvalidAudio: it cannot be decoded, or there is nothing to hear.
        NoWeights: see :func:`deepmusic_genre.analyser.ear.weights.network`.
    """
    audio = decode(file)
    # How many threads share a sum shows in its last digit, and with it in whatever is told by content.
    with threadpool_limits(1):
        samples = _part(audio.samples, middle)
        segments = analyse_samples(samples)
        loudest = segments[2][:, 0].max()
        if loudest < _LOW_LEVEL:
            samples = samples * np.float32(10 ** ((_USUAL_LEVEL - loudest) / 20))
            segments = analyse_samples(samples)
        ear = embedding(samples, network()) if pretrained else None
    notes = (*audio.notes, *_unusual(audio.rate, loudest))
    return Analysis(*segments, notes=notes, ear=ear)


def _part(samples: Floats, middle: float | None) -> Floats:
    length = len(samples) if middle is None else min(round(middle * RATE), len(samples))
    start = (len(samples) - length) // 2
    return samples[start : start + length]


def _unusual(rate: int, loudest: float) -> list[str]:
    """Notes on what moves the timbre of a whole sound away from that of others."""
    notes = []
    if rate < _LOW_RATE:
        notes.append(f"low sampling rate: {rate:,} Hz, so that there is nothing above {rate / 2:,.0f} Hz")
    if loudest < _LOW_LEVEL:
        notes.append(
            f"low level: its loudest segment is {FULL_SCALE_DB - loudest:.0f} dB below full scale; it was analysed as"
            f" if it were {_USUAL_LEVEL - loudest:.0f} dB louder"
        )
    return notes


def analyse_samples(samples: Floats) -> tuple[float, npt.NDArray[np.float64], Floats, Floats]:
    """Analyses samples, mono float32 ``[samples]`` at 22,050 Hz.

    Returns:
        The duration, and durations, timbre and pitches of the segments as in :class:`Analysis`.

    Raises:
        InvalidAudio: there is nothing to hear.
    """
    power = band_power(samples)
    bounds = boundaries(power)
    coefficients = timbre(power, bounds, load_basis())
    if coefficients[:, 0].max() < _SILENT_LOUDNESS:
        raise InvalidAudio("silent")
    duration = len(samples) / RATE
    times = np.minimum(bounds * HOP / RATE, duration)
    times[-1] = duration
    return duration, np.diff(times), coefficients, _pitches(samples, bounds, coefficients[:, 0])


def _pitches(samples: Floats, bounds: npt.NDArray[np.intp], loudness: Floats) -> Floats:
    """The mean chroma of each segment, divided by its maximum; zeros where there is nothing to hear."""
    frames = chroma(samples)
    summed = np.concatenate([np.zeros((1, 12)), np.cumsum(frames, axis=0, dtype=np.float64)])
    # Frames whose middle lies in the segment; of a segment between two of them, the nearer one.
    ratio = CHROMA_HOP // HOP
    first = np.minimum(-(-bounds[:-1] // ratio), len(frames) - 1)
    last = np.minimum(np.maximum(-(-bounds[1:] // ratio), first + 1), len(frames))
    means = (summed[last] - summed[first]) / (last - first)[:, np.newaxis]
    strongest = means.max(axis=1, keepdims=True)
    audible = (strongest > 0) & (loudness > 0)[:, np.newaxis]
    return np.where(audible, means / np.where(audible, strongest, 1), 0).clip(0, 1).astype(np.float32)
