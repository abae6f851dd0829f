"""Spotify's audio features: numbers for what a whole track is like. Optional: a track may have any of them, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Values(NamedTuple):
    """What a feature can be; anything else is taken for unknown.

    Attributes:
        least, most: its range; both are in it.
        is_whole: whether it is a whole number.
    """

    least: float
    most: float
    is_whole: bool = False


_SHARE = Values(0.0, 1.0)

AUDIO_FEATURES: dict[str, Values] = {
    "acousticness": _SHARE,
    "danceability": _SHARE,
    "energy": _SHARE,
    "instrumentalness": _SHARE,
    # A pitch class, 0 for C; -1 where the analyser found no key.
    "key": Values(-1, 11, is_whole=True),
    "liveness": _SHARE,
    # In decibels, mostly from -60 to 0.
    "loudness": Values(-100.0, 20.0),
    # 1 for major.
    "mode": Values(0, 1, is_whole=True),
    "speechiness": _SHARE,
    # In beats per minute; the analyser writes 0 where it found no beat.
    "tempo": Values(1.0, 1000.0),
    # In beats a bar; 0 as for the tempo.
    "time_signature": Values(1, 7, is_whole=True),
    "valence": _SHARE,
}
"""Each is a feature of a track's example, and absent where unknown. The schema has the same ranges."""

_COMMON_WORDS = {"key", "mode"}


def known_audio_features(said: Mapping[str, Any]) -> dict[str, float]:
    """The audio features among what is said of a track: those that are numbers, and in range."""
    return {name: float(said[name]) for name, values in AUDIO_FEATURES.items() if _is_one_of(values, said.get(name))}


def flat_audio_features(facts: Mapping[str, Any]) -> dict[str, float]:
    """As :func:`known_audio_features`, among other facts: ``key`` and ``mode`` alone mean something else there."""
    known = known_audio_features(facts)
    return known if known.keys() - _COMMON_WORDS else {}


def _is_one_of(values: Values, value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return values.least <= value <= values.most and (not values.is_whole or value == int(value))
