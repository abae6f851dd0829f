"""Asks a TF Serving endpoint for the genres of tracks.

``RestClient("http://127.0.0.1:8501").predict(tracks)`` answers with a :class:`Prediction` a track; ``read_tracks``
reads tracks from files.
"""

from serving.client.rest import EndpointError, Prediction, RestClient
from serving.client.tracks import read_tracks

__all__ = ["EndpointError", "Prediction", "RestClient", "read_tracks"]
