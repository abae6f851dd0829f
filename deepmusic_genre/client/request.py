"""``deepmusic predict --print-request``: what any HTTP client may send to a served model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from deepmusic_genre.client.client import MAX_TOGETHER
from deepmusic_genre.client.text import printable
from deepmusic_genre.client.tracks import read_tracks
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.tracks.track import N_COEFFICIENTS, Rejection, Track


def print_rows(paths: Iterable[str]) -> int:
    """Prints one request for all tracks, and why others are not in it.

    Returns:
        1 if a file could not be used, or there are none or too many tracks for one request.
    """
    tracks: list[Track] = []
    faults: list[str] = []
    for _, item in read_tracks(paths):
        if isinstance(item, Rejection):
            faults.append(f"{printable(item.path)}: {printable(item.reason)}")
        else:
            tracks.append(item)
        if len(tracks) > MAX_TOGETHER:
            faults.append(f"One request is for {MAX_TOGETHER} tracks at the most: name fewer.")
            break
    if 0 < len(tracks) <= MAX_TOGETHER:
        print(msgspec.json.encode({"instances": rows(tracks)}).decode())
    for fault in faults:
        print(fault, file=sys.stderr)
    return FAULT if faults else OK


def rows(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """Tracks as the signature ``serving_default`` takes them: each as long as the longest, with zeros at its end."""
    longest = max(len(track.segments) for track in tracks)
    return [_row(np.pad(track.segments, ((0, longest - len(track.segments)), (0, 0)))) for track in tracks]


def _row(segments: npt.NDArray[np.float32]) -> dict[str, Any]:
    # The shortest text that gives the same 32 bits.
    values = [[float(str(value)) for value in segment] for segment in segments]
    timbre, pitches = ([segment[part] for segment in values] for part in _PARTS)
    return {"timbre": timbre, "pitches": pitches}


_PARTS = (slice(N_COEFFICIENTS), slice(N_COEFFICIENTS, None))
