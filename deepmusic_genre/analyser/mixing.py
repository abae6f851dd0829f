"""One channel out of several, in such a way that none cancels another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import av
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CANCELLED = 0.5
"""Power of the channels' sum relative to the sum of their powers, below which they cancel.

It is 1 for channels that have nothing in common, and 2 for two equal ones; songs in stereo lie between these.
"""

# Frames are short: together they take fewer calls.
_TOGETHER = 1 << 14


class Mix:
    """The mean of the channels at a rate, each with its sign.

    FFmpeg's own mono makes a sound in two channels 3 dB louder than the same sound in one. In recordings that were
    joined, rate and channels change on the way: each part has signs of its own.
    """

    def __init__(self, rate: int, signs: Sequence[Floats] = ()) -> None:
        """Starts a mix.

        Args:
            rate: samples a second of the result.
            signs: of the channels, ``[channels]`` for each part; where there are none, all are 1.
        """
        self._rate = rate
        self._signs = signs
        self._form: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._waiting: list[Floats] = []
        self._products: list[npt.NDArray[np.float64]] = []

    def add(self, frame: av.AudioFrame) -> Iterator[Floats]:
        """The samples that follow, mono."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or form != self._form:
            yield from self.end()
            self._form, self._resampler = form, av.AudioResampler("fltp", frame.layout, self._rate)
            self._products.append(np.zeros((frame.layout.nb_channels,) * 2))
        self._waiting += _arrays(self._resampler.resample(frame))
        if sum(block.shape[1] for block in self._waiting) >= _TOGETHER:
            yield self._mixed()

    def end(self) -> Iterator[Floats]:
        """What is left of the part that was added last."""
        if self._resampler is not None:
            self._waiting += _arrays(self._resampler.resample(None))
            self._resampler = None
            if self._waiting:
                yield self._mixed()

    def better_signs(self) -> list[Floats] | None:
        """Signs with which no channel cancels another, for each part so far; None if none does."""
        if not any(map(_cancel, self._products)):
            return None
        return [_principal_signs(each) if _cancel(each) else np.ones(len(each), np.float32) for each in self._products]

    def _mixed(self) -> Floats:
        block: Floats = np.concatenate(self._waiting, axis=1)
        self._waiting = []
        if len(block) == 1:
            return np.asarray(block[0], np.float32)
        products = block @ block.T
        # Damaged samples would outweigh all others.
        if products.trace() <= products.shape[0] * block.shape[1]:
            self._products[-1] += products
        if self._signs:
            block *= self._signs[len(self._products) - 1][:, np.newaxis]
        return np.asarray(block.mean(axis=0), np.float32)


def _arrays(frames: Iterable[av.AudioFrame]) -> list[Floats]:
    return [np.asarray(frame.to_ndarray(), np.float32) for frame in frames]


def _cancel(products: npt.NDArray[np.float64]) -> bool:
    """Whether the sum of channels with these products ``[channels, channels]`` is much weaker than they are."""
    return bool(products.sum() < CANCELLED * products.trace())


def _principal_signs(products: npt.NDArray[np.float64]) -> Floats:
    """The signs of the channels in what they have most in common: their first principal component."""
    _, axes = np.linalg.eigh(products)
    return np.where(axes[:, -1] < 0, -1, 1).astype(np.float32)
