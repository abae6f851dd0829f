"""Which split a track belongs to: decided by a hash, so that it depends on nothing but the track."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import Literal

from deepmusic_genre.tracks.track import Track

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WEIGHTS = {TRAIN: 8, VALIDATION: 1, TEST: 1}
SPLITS = tuple(SPLIT_WEIGHTS)

SplitBy = Literal["artist", "track"]


def split_of(track: Track, split_by: SplitBy) -> str:
    """The track's split, 8:1:1 on average.

    By artist, no artist stands in two splits, so that a model is judged by artists it has never heard (the artist
    filter of Pampalk, Flexer, Widmer, ISMIR 2005). A track whose artist is unknown is its own artist.
    """
    key = (split_by == "artist" and track.artist_key) or track.track_id
    value = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % sum(SPLIT_WEIGHTS.values())
    bounds = accumulate(SPLIT_WEIGHTS.values())
    return next(split for split, bound in zip(SPLIT_WEIGHTS, bounds, strict=True) if value < bound)
