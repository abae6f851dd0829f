"""What a crawl is asked for; can be had without importing spotipy or TFX."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

POLICY = (
    "Spotify's Developer Policy (III.14) forbids training machine-learning models on Spotify content. This source is"
    " for those who hold the rights to the tracks or have an older agreement with Spotify."
)

LABELS_FILE = "labels.csv"

SPOTIFY = "https://api.spotify.com/v1"
"""The address of Spotify's Web API."""

_ID = re.compile(r"[0-9A-Za-z]{22}")
_URI = re.compile(r"spotify:(?:user:[^:\s]+:)?playlist:([0-9A-Za-z]{22})(?:[?#]\S*)?", re.IGNORECASE)
_HOSTS = ("open.spotify.com", "play.spotify.com", "api.spotify.com")
_SHORT_LINKS = ("spotify.link", "spotify.app.link")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Access(msgspec.Struct, frozen=True):
    """How Spotify is asked.

    Attributes:
        api_url: what every path of the Web API follows.
        requests_per_second: at most, evenly apart.
        max_wait_seconds: the longest pause that is waited for if Spotify asks for it.
        patience_seconds: how long it is tried while nothing at all is answered.
    """

    api_url: str
    requests_per_second: float
    max_wait_seconds: float
    patience_seconds: float


class CrawlRequest(msgspec.Struct, frozen=True):
    """What a crawl is asked for.

    Attributes:
        playlists: ids of playlists by genre; no playlist stands there twice.
        max_tracks_per_playlist: how many of a playlist's first positions are looked at, None for all.
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
    """A playlist's id, from the id itself, its address at Spotify or its Spotify URI.

    Raises:
        ValueError: it is none of them.
    """
    text = text.strip()
    if is_id(text):
        return text
    match = _URI.fullmatch(text)
    if match is not None:
        return match[1]
    host, path = _host_and_path(text)
    if host in _SHORT_LINKS:
        raise ValueError(f"{text!r} is a short link: open it in a browser, and take the address that it leads to")
    *_, kind, name = ["", "", *filter(None, path.split("/"))]
    # Of the API's addresses, the one of the items ends in them.
    if host == "api.spotify.com" and name in ("items", "tracks"):
        kind, name = path.split("/")[-3:-1]
    if host in _HOSTS and kind in ("playlist", "playlists") and is_id(name):
        return name
    raise ValueError(f"{text!r} is no playlist: neither an id of 22 letters and digits, nor its address or URI")


def api_url(text: str) -> str:
    """The address of a Web API: encrypted, or of this machine's loopback interface, so that no secret is overheard.

    Raises:
        ValueError: it is another one.
    """
    parts = urlsplit(text)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(text))
    if not safe or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is neither an https address nor an http address of this machine (127.0.0.1)")
    return text.rstrip("/")


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine's loopback interface."""
    return urlsplit(address).hostname in _LOOPBACK


def _host_and_path(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        return (parts.hostname or "") if parts.scheme in ("http", "https") else "", parts.path
    except ValueError:
        return "", ""
