"""Which genre counts of those that a track is under."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

SeveralGenres = Literal["drop", "first", "majority"]
"""What becomes of a track under several genres: it is left out, or takes the first or the most frequent of them."""


def genre_of(named: Sequence[str], several_genres: SeveralGenres) -> str:
    """The genre that counts among those that a track is under, empty if none does.

    Args:
        named: in order, an equal one each time that it is named.
        several_genres: ``drop``: none, if they differ. ``majority``: on a tie the first of the most frequent.
    """
    if len(set(named)) > 1 and several_genres == "drop":
        return ""
    return Counter(named).most_common(1)[0][0] if several_genres == "majority" else named[0]
