"""The app's credentials, and where they may be sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from components.spotify_crawl.request import SPOTIFY
from components.storage.secrets import read_secret
from deepmusic_genre.errors import PipelineInputError

ID_VARIABLE = "SPOTIPY_CLIENT_ID"
SECRET_VARIABLE = "SPOTIPY_CLIENT_SECRET"  # noqa: S105 - the variable's name.


@dataclass(frozen=True)
class Credentials:
    """A Spotify app's id and secret; neither shows when it is printed."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Endpoints:
    """Where requests go.

    Attributes:
        api: what every path of the Web API follows.
        token: where credentials are exchanged for a token.
    """

    api: str
    token: str


def read_credentials(folder: Path | None = None) -> Credentials:
    """Reads the credentials from the environment or, where that has none, from ``.env``.

    Args:
        folder: where ``.env`` lies, by default the working directory.

    Raises:
        PipelineInputError: one is missing, or cannot be one.
    """
    folder = folder or Path.cwd()
    values = [read_secret(name, folder) for name in (ID_VARIABLE, SECRET_VARIABLE)]
    for name, value in zip((ID_VARIABLE, SECRET_VARIABLE), values, strict=True):
        if not value:
            raise PipelineInputError(
                f"{name} is set neither in the environment nor in {folder / '.env'}. Both {ID_VARIABLE} and"
                f" {SECRET_VARIABLE} of your app are needed: https://developer.spotify.com/dashboard."
            )
        if not value.isascii() or not value.isprintable() or " " in value or ":" in value:
            raise PipelineInputError(f"{name} holds characters that no credential of Spotify has.")
    return Credentials(*values)


def endpoints(api_url: str) -> Endpoints:
    """Where requests go: Spotify's Web API gets its tokens from another host, a mock answers for both.

    Args:
        api_url: as :func:`~.request.api_url` accepts it.
    """
    if api_url == SPOTIFY:
        return Endpoints(f"{SPOTIFY}/", "https://accounts.spotify.com/api/token")
    parts = urlsplit(api_url)
    return Endpoints(f"{api_url}/", f"{parts.scheme}://{parts.netloc}/api/token")
