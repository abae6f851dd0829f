"""musicnn's network up to its penultimate layer, in NumPy: on one core it is twice as fast as in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from deepmusic_genre.analyser.ear.checkpoint import CONVOLUTIONS, layer
from deepmusic_genre.analyser.spectra import Floats

PATCH_FRAMES = 187
"""Frames of the spectrogram that the network hears at once."""

_FRONT = 5
"""Convolutions of the front end; those that follow are the middle's."""

_EPSILON = np.float32(0.001)
_FRAMES_TOGETHER = 16
"""Their windows fit into a core's cache."""


@dataclass(frozen=True, eq=False)
class _Line:
    """Batch normalization in use: a line a channel."""

    scale: Floats
    offset: Floats

    def __call__(self, values: Floats) -> Floats:
        return values * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution over frames and bands, ReLU, normalization, and of all bands the largest value.

    Attributes:
        kernel: frames and bands.
        weights: ``[frames * bands, channels]``, of channels whose ``sign`` is -1 negated: where the normalization
            turns values around, the largest comes of the smallest sum.
    """

    kernel: tuple[int, int]
    weights: Floats
    sign: Floats
    bias: Floats
    normalized: _Line

    def __call__(self, values: Floats) -> Floats:
        """From ``[frames, bands]`` to ``[frames, channels]``, with zeros around the frames."""
        frames, bands = self.kernel
        padded = np.pad(values, (((frames - 1) // 2, frames // 2), (0, 0)))
        # What is copied together lies together.
        windows = sliding_window_view(padded if bands > 1 else np.asfortranarray(padded), self.kernel)
        positions, channels = windows.shape[1], len(self.sign)
        sums = np.empty((len(values), channels), np.float32)
        for start in range(0, len(values), _FRAMES_TOGETHER):
            # BLAS takes no overlapping rows: without a copy, NumPy would multiply by itself.
            block = np.ascontiguousarray(windows[start : start + _FRAMES_TOGETHER]).reshape(-1, frames * bands)
            products = (block @ self.weights).reshape(-1, positions, channels)
            products.max(axis=1, out=sums[start : start + _FRAMES_TOGETHER])
        return self.normalized(np.maximum(sums * self.sign + self.bias, 0))


class Network:
    """The layers up to the penultimate one: an embedding of 3 seconds of sound."""

    def __init__(self, tensors: Mapping[str, Floats]) -> None:
        """Makes the network.

        Args:
            tensors: see :func:`deepmusic_genre.analyser.ear.checkpoint.tensors`.
        """
        convolutions = [_convolution(tensors, number) for number in range(len(CONVOLUTIONS))]
        self._front, self._middle = convolutions[:_FRONT], convolutions[_FRONT:]
        self._input = _normalization(tensors, 0)
        self._pooled = _normalization(tensors, len(CONVOLUTIONS) + 1)
        self._weights, self._bias = tensors["dense/kernel"], tensors["dense/bias"]
        self._output = _normalization(tensors, len(CONVOLUTIONS) + 2)

    def __call__(self, patch: Floats) -> Floats:
        """The penultimate layer's values.

        Args:
            patch: ``[187, 96]``, see :mod:`deepmusic_genre.analyser.ear.patches`.

        Returns:
            ``[200]``.
        """
        heard = self._input(patch)
        front = np.concatenate([convolution(heard) for convolution in self._front], axis=1)
        first, *others = self._middle
        layers = [front, first(front)]
        for convolution in others:
            layers.append(convolution(layers[-1]) + layers[-1])
        together = np.concatenate(layers, axis=1)
        pooled = np.stack([together.max(axis=0), together.mean(axis=0)], axis=1).ravel()
        return self._output(np.maximum(self._pooled(pooled) @ self._weights + self._bias, 0))


def _convolution(tensors: Mapping[str, Floats], number: int) -> _Convolution:
    name, normalized = layer("conv2d", number), _normalization(tensors, number + 1)
    frames, bands, _, channels = CONVOLUTIONS[number]
    sign = np.where(normalized.scale < 0, np.float32(-1), np.float32(1))
    weights = tensors[f"{name}/kernel"].reshape(-1, channels) * sign
    return _Convolution((frames, bands), weights, sign, tensors[f"{name}/bias"], normalized)


def _normalization(tensors: Mapping[str, Floats], number: int) -> _Line:
    name = layer("batch_normalization", number)
    scale = tensors[f"{name}/gamma"] / np.sqrt(tensors[f"{name}/moving_variance"] + _EPSILON)
    return _Line(scale, tensors[f"{name}/beta"] - scale * tensors[f"{name}/moving_mean"])
