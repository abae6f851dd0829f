"""Asks a TF Serving endpoint for the genres of tracks, over REST or gRPC.

Example:
    >>> from serving.client import Client, Track, read_tracks
    >>> tracks = (item for _, item in read_tracks(["analyses"]) if isinstance(item, Track))
    >>> with Client("http://127.0.0.1:8501") as client:
    ...     for track, answer in client.predict(tracks):
    ...         print(track.title, answer.genre if isinstance(answer, Prediction) else answer.reason)
"""

from serving.client.client import Client, Prediction, predict
from serving.client.endpoint import EndpointError
from serving.client.tracks import read_tracks
from sources.track import Rejection, Track

__all__ = ["Client", "EndpointError", "Prediction", "Rejection", "Track", "predict", "read_tracks"]
