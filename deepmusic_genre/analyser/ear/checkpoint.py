"""The tensors in a checkpoint of musicnn.

TensorFlow writes a checkpoint's tensors one behind the other, in the order of their names. Their shapes are those of
the one network that is read, and its file is known by its hash: so the checkpoint's index is not needed, nor
TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deepmusic_genre.analyser.spectra import Floats

_Shape = tuple[int, ...]

CONVOLUTIONS: tuple[tuple[int, int, int, int], ...] = (
    *((7, 38, 1, 204), (7, 67, 1, 204)),
    *((128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)),
    *((7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)),
)
"""Kernels ``[frames, bands, 1, channels]``: of the front end timbral, then temporal ones, and those of the middle."""

_DENSE: tuple[_Shape, ...] = ((1506, 200), (200, 50))
_NORMALIZED = (1, *(shape[-1] for shape in CONVOLUTIONS), *(shape[0] for shape in _DENSE))


def tensors(content: bytes) -> dict[str, Floats]:
    """The tensors of a checkpoint's data file, by name.

    Args:
        content: ``MSD_musicnn``'s file, whole.
    """
    values, place, found = np.frombuffer(content, "<f4"), 0, dict[str, Floats]()
    for name, shape in sorted(_shapes()):
        size = math.prod(shape)
        found[name] = values[place : place + size].reshape(shape)
        place += size
    return found


def layer(kind: str, number: int) -> str:
    """What TensorFlow 1 calls the layers of a kind."""
    return f"{kind}_{number}" if number else kind


def _shapes() -> Iterator[tuple[str, _Shape]]:
    layers: tuple[tuple[str, tuple[_Shape, ...]], ...] = (("conv2d", CONVOLUTIONS), ("dense", _DENSE))
    for kind, kernels in layers:
        for number, shape in enumerate(kernels):
            yield from _trained(f"{layer(kind, number)}/kernel", shape)
            yield from _trained(f"{layer(kind, number)}/bias", shape[-1:])
    for number, channels in enumerate(_NORMALIZED):
        name = layer("batch_normalization", number)
        yield from _trained(f"{name}/gamma", (channels,))
        yield from _trained(f"{name}/beta", (channels,))
        yield f"{name}/moving_mean", (channels,)
        yield f"{name}/moving_variance", (channels,)
    yield "beta1_power", ()
    yield "beta2_power", ()


def _trained(name: str, shape: _Shape) -> Iterator[tuple[str, _Shape]]:
    """A tensor and what Adam, which trained it, knew of it."""
    yield name, shape
    yield f"{name}/Adam", shape
    yield f"{name}/Adam_1", shape
