"""Which tracks a sampling keeps."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from components.track_example_gen.splits import TRAIN

Sampling = Literal["natural", "downsampled", "downsampled_everywhere"]
"""The original project's three: every track; as many tracks of each genre in training as the rarest has there; the
same in every split."""


def is_sampled(split: str, sampling: Sampling) -> bool:
    """Whether tracks of a split are left out: validation and test stay natural unless everything is sampled."""
    return sampling == "downsampled_everywhere" or (sampling == "downsampled" and split == TRAIN)


def downsample(tracks: Sequence[tuple[str, str]]) -> set[str]:
    """Picks as many tracks of each genre as the rarest of those that occur has.

    Args:
        tracks: track id and genre of each.

    Returns:
        The ids to keep: those with the smallest hashes, so that the choice depends on nothing but the tracks.
    """
    by_genre: dict[str, list[str]] = defaultdict(list)
    for track_id, genre in tracks:
        by_genre[genre].append(track_id)
    count = min(map(len, by_genre.values()), default=0)
    return {track_id for ids in by_genre.values() for track_id in sorted(ids, key=_hash)[:count]}


def _hash(track_id: str) -> bytes:
    return hashlib.blake2b(track_id.encode(), digest_size=8).digest()
