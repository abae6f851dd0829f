"""What the page gets to know of a file: its tracks, in numbers short enough to send."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepmusic_genre.tracks import registry
from deepmusic_genre.tracks.track import N_COEFFICIENTS, Rejection, Track

MAX_TRACKS = 20
"""Tracks and rejections of one file that are answered: an archive may hold any number."""

MAX_SEGMENTS = 10_000
"""Segments of a track that the page can show: some 40 minutes."""

_DIGITS = 3


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes:
        name: the file's.
        tracks: at most ``MAX_TRACKS`` of them together with the rejections.
        rejections: what could not be used, and why.
        more: whether there is more in the file.
    """

    name: str
    tracks: list[Track]
    rejections: list[Rejection]
    more: bool


class TookTooLong(Exception):
    """A file was not read within its time."""


def endings() -> list[str]:
    """The endings of the files that can be read."""
    return [suffix for source in registry.SOURCES for suffix in source.suffixes]


def read_file(name: str, content: bytes, deadline: float, pretrained: bool = False) -> Reading:
    """Reads the first tracks of a file.

    Args:
        name: the file's, without a folder.
        content: its bytes.
        deadline: on :func:`time.monotonic`'s clock; no further track is read after it.
        pretrained: whether the pretrained network hears sound.

    Raises:
        TookTooLong: at the deadline.
    """
    items: list[Track | Rejection] = []
    for item in registry.read(name, io.BytesIO(content), pretrained=pretrained):
        if time.monotonic() > deadline:
            raise TookTooLong
        items.append(item)
        if len(items) > MAX_TRACKS:
            break
    shown = items[:MAX_TRACKS]
    return Reading(
        name=name,
        tracks=[item for item in shown if isinstance(item, Track)],
        rejections=[item for item in shown if isinstance(item, Rejection)],
        more=len(items) > MAX_TRACKS,
    )


def picture(track: Track) -> dict[str, Any]:
    """A track for the page, its values rounded to what can be seen."""
    shown = track.segments[:MAX_SEGMENTS]
    timbre, pitches = np.split(shown.round(_DIGITS), [N_COEFFICIENTS], axis=1)
    return {
        "id": track.track_id,
        "artist": track.artist,
        "title": track.title,
        "duration": track.duration or None,
        "segments": len(track.segments),
        "timbre": np.ascontiguousarray(timbre),
        "pitches": np.ascontiguousarray(pitches),
        "durations": None if track.durations is None else track.durations[:MAX_SEGMENTS].round(_DIGITS + 2),
    }
