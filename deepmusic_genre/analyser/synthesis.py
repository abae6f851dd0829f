"""Pieces of made sound, from a seed: what the shipped timbre basis is fitted to.

They are no music, but they sound as variously as music does: tones of many spectra and envelopes, chords, basses, drums
and noises of every colour, alone and together, dry and distorted, bright and dull, loud and quiet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import signal

from deepmusic_genre.analyser.decode import RATE

Floats = npt.NDArray[np.float64]
_Layer = Callable[[np.random.Generator, float], Iterator[tuple[float, Floats]]]

_NYQUIST = RATE / 2


def synthetic_pieces(count: int, seconds: float, seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """Makes pieces; equal arguments give equal pieces.

    Yields:
        Each piece, mono float32 ``[samples]`` at :data:`deepmusic_genre.analyser.decode.RATE`, its peak at 0.02..1.
    """
    for number in range(count):
        yield _piece(np.random.default_rng([seed, number]), seconds)


def _piece(rng: np.random.Generator, seconds: float) -> npt.NDArray[np.float32]:
    mixed = np.zeros(int(seconds * RATE))
    layers = rng.choice(len(_LAYERS), rng.integers(1, len(_LAYERS) + 1), replace=False)
    for layer in layers:
        own = np.zeros_like(mixed)
        for start, sound in _LAYERS[layer](rng, seconds):
            first = int(start * RATE)
            part = sound[: max(len(own) - first, 0)]
            own[first : first + len(part)] += part
        mixed += _decibels(rng.uniform(-20, 0)) * own / max(np.abs(own).max(), 1e-9)
    return _mastered(rng, mixed).astype(np.float32)


def _mastered(rng: np.random.Generator, samples: Floats) -> Floats:
    """The piece as a recording might have it: distorted or not, of some colour, with some noise, at some level."""
    if rng.random() < 0.4:
        drive = _decibels(rng.uniform(0, 30))
        samples = np.tanh(drive * samples / np.abs(samples).max())
    samples = _coloured(rng, samples, tilt=rng.uniform(-4, 2))
    noise = _coloured(rng, rng.standard_normal(len(samples)), tilt=rng.uniform(-6, 0))
    samples = samples / np.abs(samples).max() + _decibels(rng.uniform(-80, -35)) * noise / noise.std()
    cutoff = _log_uniform(rng, 3000, 0.99 * _NYQUIST)
    samples = signal.sosfilt(signal.butter(4, cutoff, fs=RATE, output="sos"), samples)
    return np.asarray(_decibels(rng.uniform(-34, 0)) * samples / np.abs(samples).max())


def _coloured(rng: np.random.Generator, samples: Floats, tilt: float) -> Floats:
    """Filters a sound by a tilt, in dB an octave, and by some bumps and notches of up to 12 dB."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 30) / 1000)
    gain = tilt * octaves
    for _ in range(rng.integers(0, 4)):
        gain += rng.uniform(-12, 12) * np.exp(-(((octaves - rng.uniform(-4, 3)) / rng.uniform(0.2, 1)) ** 2))
    return np.fft.irfft(spectrum * _decibels(gain), len(samples))


def _melody(rng: np.random.Generator, seconds: float) -> Iterator[tuple[float, Floats]]:
    instrument = _Instrument(rng)
    centre = _log_uniform(rng, 150, 900)
    for start, length in _rhythm(rng, seconds, rng.uniform(0.12, 0.9)):
        yield start, instrument.play(rng, centre * 2 ** (rng.integers(-7, 8) / 12), length)


def _chords(rng: np.random.Generator, seconds: float) -> Iterator[tuple[float, Floats]]:
    instrument = _Instrument(rng)
    centre = _log_uniform(rng, 100, 400)
    for start, length in _rhythm(rng, seconds, rng.uniform(0.2, 2.0)):
        root = rng.integers(-6, 6)
        third, fifth = rng.integers(3, 5), rng.integers(6, 9)
        for interval in (0, third, fifth):
            yield start, instrument.play(rng, centre * 2 ** ((root + interval) / 12), length)


def _bass(rng: np.random.Generator, seconds: float) -> Iterator[tuple[float, Floats]]:
    instrument = _Instrument(rng)
    for start, length in _rhythm(rng, seconds, rng.uniform(0.2, 0.8)):
        yield start, instrument.play(rng, 41.2 * 2 ** (rng.integers(0, 15) / 12), length)


def _drums(rng: np.random.Generator, seconds: float) -> Iterator[tuple[float, Floats]]:
    beat = rng.uniform(0.3, 0.7)
    kick, snare = _kick(rng), _burst(rng, low=_log_uniform(rng, 120, 400), high=_log_uniform(rng, 3000, 10000))
    cymbal = _burst(rng, low=_log_uniform(rng, 3000, 7000), high=0.99 * _NYQUIST) * rng.uniform(0.1, 0.6)
    for number, start in enumerate(np.arange(0, seconds, beat / 2)):
        sounds = [*([kick] if number % 4 == 0 else []), *([snare] if number % 4 == 2 else []), cymbal]
        for sound in sounds:
            if rng.random() < 0.85:
                yield float(start), sound * _decibels(rng.uniform(-8, 0))


def _noises(rng: np.random.Generator, seconds: float) -> Iterator[tuple[float, Floats]]:
    for start, length in _rhythm(rng, seconds, rng.uniform(0.1, 2.0)):
        low = _log_uniform(rng, 30, 4000)
        noise = _band_noise(rng, length, low, min(low * _log_uniform(rng, 1.3, 30), 0.99 * _NYQUIST))
        yield start, noise * _envelope(len(noise), _log_uniform(rng, 0.002, 0.3), _log_uniform(rng, 0.03, 2))


_LAYERS: tuple[_Layer, ...] = (_melody, _chords, _bass, _drums, _noises)


class _Instrument:
    """A harmonic tone of one spectrum and envelope: a slope, resonances, more or less of the even partials."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._slope = rng.uniform(0.3, 2.5)
        self._even = rng.uniform(0.1, 1)
        self._resonances = [(_log_uniform(rng, 200, 6000), rng.uniform(0.1, 0.6)) for _ in range(rng.integers(0, 4))]
        self._attack, self._decay = _log_uniform(rng, 0.002, 0.15), _log_uniform(rng, 0.05, 3)
        # Higher partials die away sooner, as on strings; or all together, as in pipes.
        self._damping = rng.uniform(0, 1)
        self._vibrato = rng.choice([0, rng.uniform(0, 0.01)])

    def play(self, rng: np.random.Generator, frequency: float, seconds: float) -> Floats:
        """A tone, float64 ``[samples]``."""
        time = np.arange(int(seconds * RATE)) / RATE
        phase = 2 * np.pi * frequency * (time + self._vibrato / 30 * np.sin(2 * np.pi * 5.5 * time))
        partials = np.arange(1, min(int(0.95 * _NYQUIST / frequency), 60) + 1)
        levels = partials**-self._slope * np.where(partials % 2, 1, self._even)
        for centre, width in self._resonances:
            levels = levels * (1 + 6 * np.exp(-((np.log2(partials * frequency / centre) / width) ** 2)))
        tone = np.zeros_like(time)
        for partial, level in zip(partials, levels, strict=True):
            rate = 1 + self._damping * (partial - 1) / 4
            tone += level * np.exp(-time * rate / self._decay) * np.sin(partial * phase + rng.uniform(0, 6.28))
        return tone * _envelope(len(time), self._attack, 1e3)


def _kick(rng: np.random.Generator) -> Floats:
    time = np.arange(int(0.4 * RATE)) / RATE
    low, sweep, decay = rng.uniform(40, 70), rng.uniform(50, 250), rng.uniform(0.05, 0.2)
    phase = 2 * np.pi * (low * time + sweep * 0.02 * (1 - np.exp(-time / 0.02)))
    return np.asarray(np.sin(phase) * np.exp(-time / decay) * _envelope(len(time), 0.002, 1e3))


def _burst(rng: np.random.Generator, low: float, high: float) -> Floats:
    noise = _band_noise(rng, 0.6, low, high)
    return noise * _envelope(len(noise), 0.001, _log_uniform(rng, 0.02, 0.25))


def _band_noise(rng: np.random.Generator, seconds: float, low: float, high: float) -> Floats:
    sections = signal.butter(2, (low, high), "bandpass", fs=RATE, output="sos")
    noise = signal.sosfilt(sections, rng.standard_normal(int(seconds * RATE)))
    return np.asarray(noise / max(np.abs(noise).max(), 1e-9))


def _envelope(samples: int, attack: float, decay: float) -> Floats:
    """Rises over ``attack`` seconds, falls by 1/e in ``decay`` seconds, ends without a click."""
    time = np.arange(samples) / RATE
    ending = np.clip((time[-1] - time) / 0.01, 0, 1)
    return np.asarray(np.clip(time / attack, 0, 1) * np.exp(-time / decay) * ending)


def _rhythm(rng: np.random.Generator, seconds: float, step: float) -> Iterator[tuple[float, float]]:
    """Starts and lengths, seconds, of sounds one after another, with rests."""
    start = 0.0
    while start < seconds:
        length = step * rng.choice([0.5, 1, 1, 2])
        if rng.random() < 0.85:
            yield start, length * rng.uniform(0.7, 1.2)
        start += length


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _decibels(level: Floats | float) -> Floats:
    return np.asarray(10 ** (np.asarray(level) / 20))
