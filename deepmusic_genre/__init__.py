"""Genres of music: reads audio analyses and sound files, and asks a served model for the genre of each track.

Example:
    >>> from deepmusic_genre import Client, Prediction, Track, read_tracks
    >>> tracks = (item for _, item in read_tracks(["analyses"]) if isinstance(item, Track))
    >>> with Client("http://127.0.0.1:8501") as client:
    ...     for track, answer in client.predict(tracks):
    ...         print(track.title, answer.genre if isinstance(answer, Prediction) else answer.reason)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepmusic_genre.client.client import Client, Prediction, predict
    from deepmusic_genre.client.endpoint import EndpointError
    from deepmusic_genre.client.tracks import read_tracks
    from deepmusic_genre.tracks.track import Rejection, Track
    from deepmusic_genre.version import __version__

_HOMES = {
    "Client": "client.client",
    "EndpointError": "client.endpoint",
    "Prediction": "client.client",
    "Rejection": "tracks.track",
    "Track": "tracks.track",
    "__version__": "version",
    "predict": "client.client",
    "read_tracks": "client.tracks",
}

__all__ = [
    "Client",
    "EndpointError",
    "Prediction",
    "Rejection",
    "Track",
    "__version__",
    "predict",
    "read_tracks",
]


def __getattr__(name: str) -> Any:
    # On first use: the pipeline imports this package for its errors alone, and should not wait for the client.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
