"""What every source yields: a track with its segments, or the reason why there is none."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

N_COEFFICIENTS = 12
"""Timbre coefficients, and pitch classes, of one segment."""

MIN_SEGMENTS = 3
"""Segments below which a track is too short for a model to say anything of it."""

MAX_TIMBRE = 1000.0
"""Largest magnitude of a timbre coefficient; of 1,217 real tracks, the largest is 504. A model computes products of
them, which of far larger values are infinite."""

TIMBRE_FEATURES = tuple(f"timbre_{number:02d}" for number in range(1, N_COEFFICIENTS + 1))
"""Feature names of the timbre coefficients 1..12, in the analysis's order."""

PITCH_FEATURES = tuple(
    f"pitch_{name}" for name in ("C", "Csharp", "D", "Dsharp", "E", "F", "Fsharp", "G", "Gsharp", "A", "Asharp", "B")
)
"""Feature names of the pitch classes C..B, in the analysis's order."""

ECHO_NEST = "echo_nest"
"""The analyser of the Million Song Dataset and of Spotify, which bought it: their values are comparable."""

SEGMENT_FEATURES = TIMBRE_FEATURES + PITCH_FEATURES
"""Every feature with one value a segment, in the order of :attr:`Track.segments`' columns."""


FACTS: dict[str, type] = {
    "track_id": str,
    "artist_id": str,
    "artist": str,
    "title": str,
    "genre": str,
    "source": str,
    "analyser": str,
    "duration": float,
    "num_segments": int,
}
"""What is known of a track besides its segments: attributes of :class:`Track`, each a feature of its example."""


N_EAR = 400
"""Values of :attr:`Track.ear`: mean, then standard deviation, of a network's penultimate layer of 200 values."""

EAR_FEATURE = "ear"
"""Feature name of :attr:`Track.ear`; an example has it where the track does."""


class InvalidTrack(ValueError):
    """A track that cannot be used; its message is the reason shown to the user."""


@dataclass(frozen=True, eq=False)
class Track:
    """One track's audio analysis.

    Attributes:
        track_id: what the file says, or an empty string where it says nothing.
        source: the form of analysis the track was read from, for example ``audio_analysis``.
        duration: seconds; 0 where unknown.
        segments: float32 of shape ``[segments, 24]``: the 12 timbre coefficients, then the 12 pitch classes (0..1).
        analyser: What computed the segments; only values of one analyser are comparable.
        artist_id, artist, title, genre: empty where unknown.
        album, album_artist: from a sound file's tags, empty where unknown.
        track_number: its place on the album, from a sound file's tags, 0 where unknown.
        contradictions: See :func:`deepmusic_genre.tracks.labels.contradictions`.
        durations: float64 of shape ``[segments]``, each segment's seconds; None where unknown.
        other_genres: what it is called besides ``genre``, in order, an equal one each time that it is named.
        path: where it was read: the file, and what a dump or an archive has for a place in it.
        notes: What was amiss with a sound file that was read all the same. Each begins with its kind and a colon.
        ear: float32 of shape ``[400]``: what a pretrained network hears in the sound; None where there is no sound,
            or no network.
        audio_features: those of :data:`~.audio_features.AUDIO_FEATURES` that are known.
    """

    track_id: str
    source: str
    duration: float
    segments: npt.NDArray[np.float32]
    analyser: str
    artist_id: str = ""
    artist: str = ""
    title: str = ""
    genre: str = ""
    durations: npt.NDArray[np.float64] | None = None
    other_genres: tuple[str, ...] = ()
    path: str = ""
    notes: tuple[str, ...] = ()
    ear: npt.NDArray[np.float32] | None = None
    audio_features: Mapping[str, float] = field(default_factory=dict)
    album: str = ""
    album_artist: str = ""
    track_number: int = 0
    contradictions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.duration <= np.finfo(np.float32).max:
            raise InvalidTrack(f"the track's duration = {self.duration:g} is not a number of seconds")

    @property
    def num_segments(self) -> int:
        """How many there are."""
        return len(self.segments)

    @property
    def artist_key(self) -> str:
        """What tells its artist from others, see :func:`artist_key`."""
        return artist_key(self.artist_id, self.artist)

    def content_digest(self) -> str:
        """A hash of the segments' values, equal for equal analyses whatever file they came from."""
        return hashlib.blake2b(np.ascontiguousarray(self.segments).tobytes(), digest_size=16).hexdigest()


def artist_key(artist_id: str, artist: str) -> str:
    """What tells artists apart: the id, else the name however it is written; empty where neither is known."""
    return artist_id or folded(artist)


def folded(name: str) -> str:
    """What the ways to write a name have in common, whatever their case, blanks and composed characters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True)
class Rejection:
    """A track or a file that was left out, and why."""

    path: str
    reason: str
    track_id: str = ""


@dataclass(frozen=True)
class Unreadable(Rejection):
    """A file that could not be opened or read: the next attempt may find it whole."""


def require_comparable(track: Track, analysers: Sequence[str]) -> None:
    """Checks that a model's answer to a track means anything.

    Args:
        track: any.
        analysers: whose tracks the model was trained on.

    Raises:
        InvalidTrack: the track's segments are of another one.
    """
    if track.analyser not in analysers:
        raise InvalidTrack(
            f"it was analysed by {track.analyser}, but the model was trained on {' and '.join(analysers)}: use a model"
            f" trained on {track.analyser}"
        )


def require_heard(track: Track) -> None:
    """Checks that a model that listens can answer a track.

    Raises:
        InvalidTrack: there is nothing to listen to.
    """
    if track.ear is None:
        raise InvalidTrack(
            "this model listens to sound: read the file by read_tracks(paths, pretrained=client.listens)"
            if track.source == "audio"
            else "this model listens to sound, and an analysis has none: give it the sound file"
        )


def segment_matrix(
    timbre: npt.ArrayLike, pitches: npt.ArrayLike, durations: npt.ArrayLike | None
) -> npt.NDArray[np.float32]:
    """Checks one track's segments and joins them.

    Args:
        timbre: shape ``[segments, 12]``, each in [-1000, 1000].
        pitches: shape ``[segments, 12]``, each in [0, 1].
        durations: shape ``[segments]``, seconds, not negative; None where unknown.

    Returns:
        float32 of shape ``[segments, 24]``, up to the last segment that is not all zero: in serving, zeros at the end
        are padding.

    Raises:
        InvalidTrack: naming the first segment and value that break a rule.
    """
    timbre = np.asarray(timbre, np.float32)
    pitches = np.asarray(pitches, np.float32)
    durations = np.zeros(len(timbre)) if durations is None else np.asarray(durations, np.float64)
    if len(timbre) < MIN_SEGMENTS:
        count = f"only {len(timbre)}" if len(timbre) else "no"
        raise InvalidTrack(f"it has {count} segments: {MIN_SEGMENTS} are the least that says anything of a track")
    for name, vectors in (("timbre", timbre), ("pitches", pitches)):
        if vectors.ndim != 2 or vectors.shape[1] != N_COEFFICIENTS:
            raise InvalidTrack(f"{name} has the shape {vectors.shape}, not that of vectors of {N_COEFFICIENTS} values")
    if not len(timbre) == len(pitches) == len(durations):
        raise InvalidTrack(f"{len(timbre)} timbre vectors, {len(pitches)} pitch vectors, {len(durations)} durations")
    _require_all(np.isfinite(timbre), timbre, "timbre", "is not a finite number")
    _require_all(np.abs(timbre) <= MAX_TIMBRE, timbre, "timbre", f"is outside [-{MAX_TIMBRE:g}, {MAX_TIMBRE:g}]")
    _require_all(np.isfinite(pitches), pitches, "pitches", "is not a finite number")
    _require_all((pitches >= 0) & (pitches <= 1), pitches, "pitches", "is outside [0, 1]")
    _require_all(np.isfinite(durations), durations, "duration", "is not a finite number")
    _require_all(durations >= 0, durations, "duration", "is negative")
    joined: npt.NDArray[np.float32] = np.concatenate([timbre, pitches], axis=1)
    filled = np.flatnonzero(joined.any(axis=1))
    if not len(filled):
        raise InvalidTrack("all its segments are zero")
    return joined[: filled[-1] + 1]


def _require_all(valid: npt.NDArray[np.bool_], values: npt.NDArray[Any], name: str, fault: str) -> None:
    if valid.all():
        return
    where = np.argwhere(~valid)[0]
    place = f"segments[{where[0]}].{name}" + "".join(f"[{index}]" for index in where[1:])
    raise InvalidTrack(f"{place} = {values[tuple(where)]:g} {fault}")
