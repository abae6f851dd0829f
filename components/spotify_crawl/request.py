"""What a crawl is asked for; can be had without importing spotipy or TFX."""

from __future__ import annotations

import re

import msgspec

POLICY = (
    "Spotify's Developer Policy (III.14) forbids training machine-learning models on Spotify content. This source is"
    " for those who hold the rights to the tracks or have an older agreement with Spotify."
)

ANALYSES_FOLDER = "analyses"
LABELS_FILE = "labels.csv"

_ID = re.compile(r"[0-9A-Za-z]{22}")
_PLAYLIST = re.compile(
    r"(?:spotify:(?:user:[^:\s]+:)?playlist:"
    r"|(?:https?://)?open\.spotify\.com/(?:intl-[a-z]{2}/)?(?:user/[^/\s]+/)?playlist/)?"
    r"([0-9A-Za-z]{22})(?:[?#]\S*)?",
)


class CrawlRequest(msgspec.Struct, frozen=True):
    """What a crawl is asked for.

    Attributes:
        playlists: ids of playlists by genre; no playlist stands there twice.
        max_tracks_per_playlist: how many a playlist's first tracks are taken, None for all.
    """

    playlists: dict[str, tuple[str, ...]]
    max_tracks_per_playlist: int | None = None

    @property
    def genre_of(self) -> dict[str, str]:
        """The genre by playlist id."""
        return {playlist: genre for genre, playlists in self.playlists.items() for playlist in playlists}


def is_id(text: object) -> bool:
    """Whether it is an id as Spotify makes them: safe as a file's name and as part of an address."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def playlist_id(text: str) -> str:
    """A playlist's id, from the id itself, its address at open.spotify.com or its Spotify URI.

    Raises:
        ValueError: it is none of them.
    """
    match = _PLAYLIST.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no playlist: neither an id of 22 letters and digits, nor its address or URI")
    return match[1]
