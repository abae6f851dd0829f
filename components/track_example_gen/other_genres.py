"""What becomes of a track whose genre is not in the genre list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from deepmusic_genre.tracks.genre_table import genre_key

OtherGenres = Literal["reject", "leave_out", "gather"]
"""Rejected as a fault; left out; or gathered under :data:`OTHER`."""

OTHER = "Other"
"""The genre that gathers the tracks of all genres outside the list."""


def with_other(genres: Sequence[str]) -> list[str]:
    """The genre list with :data:`OTHER` at its end, unless it is in it."""
    return [*genres] if gathering(genres) else [*genres, OTHER]


def gathering(genres: Sequence[str]) -> str | None:
    """The genre of the list that is :data:`OTHER`, however it is written there; None if there is none."""
    return next((genre for genre in genres if genre_key(genre) == genre_key(OTHER)), None)
