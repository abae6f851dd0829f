"""Vectors of tracks in a file, read block by block: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.scoring.scores import Floats

Vectors = npt.NDArray[np.float32]

_TOGETHER = 1024


@dataclass(frozen=True)
class StoredVectors:
    """Vectors in a file.

    Attributes:
        path: of the file.
        values: those of a vector.
    """

    path: Path
    values: int

    def write(self, batches: Iterable[Vectors]) -> None:
        """Writes batches ``[batch, values]``, one after the other."""
        with self.path.open("wb") as file:
            for batch in batches:
                np.asarray(batch, np.float32).tofile(file)

    def blocks(self) -> Iterator[Vectors]:
        """The vectors in order, ``[1024, values]`` at most."""
        with self.path.open("rb") as file:
            while len(block := np.fromfile(file, np.float32, _TOGETHER * self.values)):
                yield block.reshape(-1, self.values)

    def mean_and_deviation(self) -> tuple[Floats, Floats]:
        """Of each value."""
        count, total = 0, np.zeros(self.values)
        for block in self.blocks():
            count += len(block)
            total += block.sum(axis=0, dtype=np.float64)
        center = total / count
        squares = sum(((block - center) ** 2).sum(axis=0) for block in self.blocks())
        return center, np.sqrt(squares / count)
