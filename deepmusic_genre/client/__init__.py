"""Asks a TF Serving endpoint for the genres of tracks, over REST or gRPC.

Example:
    >>> from deepmusic_genre.client import Client, Track, read_tracks
    >>> tracks = (item for _, item in read_tracks(["analyses"]) if isinstance(item, Track))
    >>> with Client("http://127.0.0.1:8501") as client:
    ...     for track, answer in client.predict(tracks):
    ...         print(track.title, answer.genre if isinstance(answer, Prediction) else answer.reason)
"""

from deepmusic_genre.client.client import Client, Prediction, predict
from deepmusic_genre.client.endpoint import EndpointError
from deepmusic_genre.client.tracks import read_tracks
from deepmusic_genre.tracks.track import Rejection, Track

__all__ = ["Client", "EndpointError", "Prediction", "Rejection", "Track", "predict", "read_tracks"]
