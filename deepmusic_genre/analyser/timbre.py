"""Timbre: what a segment sounds like beside its pitch, as 12 coefficients.

The first is the loudness. The others are where the segment's shape in time and frequency lies along the axes of a fixed
basis: principal components of many such shapes (Jehan: Creating Music by Listening, MIT 2005, chapter 3).

Of the project's own basis, on music: the second coefficient grows with brightness (its correlation with the tilt of
the spectrum is 0.85) and with flatness (0.73); the third grows as the middle bands are weaker than the low and the high
ones (0.79); the fourth is none of these alone; the fifth grows as a segment swells and falls as it dies away (0.69).
That is not Echo Nest's order, whose third is flatness and whose fourth the attack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepmusic_genre.analyser.spectra import BANDS, Floats

TIMES = 4
"""Parts of equal length into which a segment's shape divides it, so that attack and decay show."""

SHAPE = TIMES * BANDS
BASIS_FILE = Path(__file__).with_name("basis.json")

_RANGE_DB = 60.0
_SILENCE = 1e-11
"""Power of a band below which there is nothing but the rounding of 16 bits: 110 dB below full scale."""

FULL_SCALE_DB = 60.0
"""Loudness of a sine of full scale."""


@dataclass(frozen=True, eq=False)
class Basis:
    """The axes of timbre.

    Attributes:
        name: what analyses made with it say of their analyser; another basis has another name.
        mean: of the shapes that it was fitted to, dB, ``[128]``.
        components: orthonormal, ``[11, 128]``, by falling variance; each 32 bands for each of 4 times.
    """

    name: str
    mean: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]


@cache
def load_basis() -> Basis:
    """The basis that the project brings along, or that a refit has put in its place."""
    content = json.loads(BASIS_FILE.read_text(encoding="utf-8"))
    return Basis(content["name"], np.array(content["mean"]), np.array(content["components"]))


def timbre(power: Floats, bounds: npt.NDArray[np.intp], basis: Basis) -> npt.NDArray[np.float32]:
    """The coefficients of each segment.

    Args:
        power: ``[frames, bands]``.
        bounds: frames at which segments begin, and the end, ``[segments + 1]``.
        basis: the axes.

    Returns:
        ``[segments, 12]``: the loudness, 60 for full scale and 0 for what is 60 dB softer or more; then coefficients in
        dB. A sound at another level differs in the first alone.
    """
    cells = _cells(power, bounds)
    shape = (shapes(cells) - basis.mean) @ basis.components.T
    # A segment without sound has no shape, whatever the mean of the others is.
    shape[cells.max(axis=(1, 2)) <= _SILENCE] = 0
    return np.asarray(np.concatenate([loudness(cells)[:, np.newaxis], shape], axis=1), np.float32)


def segment_shapes(power: Floats, bounds: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.float64], Floats]:
    """What a basis is fitted to: each segment's shape ``[segments, 128]`` and loudness ``[segments]``."""
    cells = _cells(power, bounds)
    return shapes(cells), loudness(cells).astype(np.float32)


def shapes(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Levels in dB within 60 dB of a segment's loudest cell, less their mean: ``[segments, 128]``."""
    level = 10 * np.log10(np.maximum(cells, _SILENCE))
    level = np.maximum(level, level.max(axis=(1, 2), keepdims=True) - _RANGE_DB)
    return np.asarray((level - level.mean(axis=(1, 2), keepdims=True)).reshape(len(cells), SHAPE))


def loudness(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """dB, 60 for a sine of full scale and nothing below 0: ``[segments]``."""
    total = cells.sum(axis=2).mean(axis=1)
    return np.asarray(np.clip(FULL_SCALE_DB + 10 * np.log10(np.maximum(total, 1e-12)), 0, None))


def _cells(power: Floats, bounds: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Mean power ``[segments, times, bands]`` in equal parts of each segment, whose borders may fall within frames."""
    summed = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0, dtype=np.float64)])
    lengths = np.diff(bounds)[:, np.newaxis]
    borders = bounds[:-1, np.newaxis] + lengths * np.linspace(0, 1, TIMES + 1)
    below = np.floor(borders).astype(np.intp)
    part = (borders - below)[..., np.newaxis]
    reached = summed[below] * (1 - part) + summed[np.minimum(below + 1, len(power))] * part
    return np.asarray(np.maximum(np.diff(reached, axis=1) / (lengths / TIMES)[..., np.newaxis], 0))
