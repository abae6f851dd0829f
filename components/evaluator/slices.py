"""Parts of the test split whose scores are told apart; can be had without importing TensorFlow."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from deepmusic_genre.tracks.track import FACTS

_LENGTHS = (300, 600, 900)
_LENGTH_NAMES = ("0 to 299 segments", "300 to 599 segments", "600 to 899 segments", "900 segments and more")


def _length(facts: Mapping[str, Any]) -> str:
    return _LENGTH_NAMES[bisect_right(_LENGTHS, facts["num_segments"])]


_TEMPOS = (100, 130)
_TEMPO_NAMES = ("below 100 BPM", "100 to below 130 BPM", "130 BPM and more")


def _tempo(facts: Mapping[str, Any]) -> str:
    tempo = facts.get("tempo")
    return "unknown" if tempo is None else _TEMPO_NAMES[bisect_right(_TEMPOS, tempo)]


SLICES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **{name: itemgetter(name) for name, of_type in FACTS.items() if of_type is str},
    "length": _length,
    "tempo": _tempo,
}
"""By name, what says from a track's facts to which part it belongs."""


def known_slice(name: str) -> str:
    """A key of :data:`SLICES`; raises ValueError for any other text."""
    if name not in SLICES:
        raise ValueError(f"{name} is nothing that tracks are told apart by; there are {', '.join(SLICES)}")
    return name
