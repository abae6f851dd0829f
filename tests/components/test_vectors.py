"""Vectors in a file."""

from pathlib import Path

import numpy as np
import pytest

from components.trainer import vectors
from components.trainer.vectors import StoredVectors

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("tracks", [1, 16, 50])
def test_blocks_are_the_vectors_in_order(tmp_path: Path, tracks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_TOGETHER", 16)
    expected = np.random.default_rng(0).normal(size=(tracks, 7)).astype(np.float32)
    stored = StoredVectors(tmp_path / "vectors", 7)
    stored.write(np.array_split(expected, 4))
    blocks = list(stored.blocks())
    assert max(map(len, blocks)) <= 16
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_mean_and_deviation_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_TOGETHER", 16)
    # Far from zero, where a difference of squares would lose its digits.
    whole = (1e4 + np.random.default_rng(0).normal(size=(100, 5))).astype(np.float32)
    stored = StoredVectors(tmp_path / "vectors", 5)
    stored.write([whole])
    center, deviation = stored.mean_and_deviation()
    np.testing.assert_allclose(center, whole.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(deviation, whole.std(axis=0, dtype=float), rtol=1e-9)
