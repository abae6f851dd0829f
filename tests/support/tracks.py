"""Makes small audio analyses, Million Song files and whole catalogues for the tests."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from deepmusic_genre.tracks.track import Track

GENRES = ("Blues", "Classical", "Country", "Hip-Hop", "Jazz", "Metal", "Pop", "Rock")
LABEL_COLUMNS = ("track_id", "artist_id", "artist", "title", "genre")


def analysis(seed: int = 0, segments: int = 20, timbre_mean: Sequence[float] | None = None) -> dict[str, Any]:
    """A valid audio analysis that names no track id; equal arguments give equal values."""
    rng = np.random.default_rng(seed)
    means = np.zeros(12) if timbre_mean is None else np.array(timbre_mean)
    durations = rng.uniform(0.1, 0.5, segments).round(5)
    starts = (np.cumsum(durations) - durations).round(5)
    timbre = (means + 10 * rng.standard_normal((segments, 12))).round(3)
    # The first coefficient is a loudness, 0 to 100 at the most.
    timbre[:, 0] = np.abs(timbre[:, 0]).clip(0, 100)
    pitches = rng.uniform(0, 1, (segments, 12)).round(3)
    return {
        "meta": {"analyzer_version": "tests"},
        "track": {"duration": round(float(durations.sum()), 5), "tempo": 120.0},
        "segments": [
            {"start": start, "duration": duration, "confidence": 1.0, "pitches": pitch, "timbre": vector}
            for start, duration, pitch, vector in zip(
                starts.tolist(), durations.tolist(), pitches.tolist(), timbre.tolist(), strict=True
            )
        ],
    }


def segments_of(analysis: dict[str, Any]) -> npt.NDArray[np.float32]:
    """What is read of an analysis: timbre and pitches ``[segments, 24]``."""
    return np.array([segment["timbre"] + segment["pitches"] for segment in analysis["segments"]], np.float32)


def durations_of(track: Track) -> list[float]:
    """What a track says of its segments' durations, one for each segment."""
    assert track.durations is not None
    assert len(track.durations) == len(track.segments)
    return [float(duration) for duration in track.durations]


def write_analysis(path: Path, analysis: dict[str, Any]) -> Path:
    """Writes an analysis as JSON, gzipped if the path ends in ``.gz``; equal content gives equal bytes."""
    content = json.dumps(analysis).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_h5(path: Path, track_ids: Sequence[str], segments: int = 20) -> Path:
    """Writes a Million Song file: of one track, or an aggregate. Track ``n`` has the values of ``analysis(n)``."""
    tracks = [analysis(seed, segments) for seed in range(len(track_ids))]
    songs = np.zeros(
        len(tracks),
        [
            ("track_id", "S32"),
            ("duration", "f8"),
            ("idx_segments_start", "i4"),
            ("idx_segments_timbre", "i4"),
            ("idx_segments_pitches", "i4"),
        ],
    )
    metadata = np.zeros(len(tracks), [("artist_id", "S32"), ("artist_name", "S1024"), ("title", "S1024")])
    for row, (track_id, track) in enumerate(zip(track_ids, tracks, strict=True)):
        index = row * segments
        songs[row] = (track_id.encode(), track["track"]["duration"], index, index, index)
        metadata[row] = (f"AR{row:05d}", f"Artist {row}".encode(), f"Title {row}".encode())
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["analysis/songs"] = songs
        file["metadata/songs"] = metadata
        for name, key in (("start", "start"), ("timbre", "timbre"), ("pitches", "pitches")):
            file[f"analysis/segments_{name}"] = np.array(
                [segment[key] for track in tracks for segment in track["segments"]], np.float64
            )
    return path


def write_catalogue(
    folder: Path, tracks: int = 40, genres: Sequence[str] = GENRES, tracks_per_artist: int = 2
) -> tuple[Path, Path]:
    """Writes a catalogue whose genres differ clearly in their mean timbre; each artist has one genre.

    Split by artist, eleven artists or more put tracks into each of the three splits; the default 8:1:1.

    Returns:
        The folder of the analyses ``track-000.json.gz``..., and the labels file.
    """
    data = folder / "tracks"
    rows = []
    for number in range(tracks):
        artist = number // tracks_per_artist
        genre = artist % len(genres)
        mean = 60 * np.random.default_rng([1, genre]).standard_normal(12)
        write_analysis(data / f"track-{number:03d}.json.gz", analysis(number, timbre_mean=mean.tolist()))
        rows.append((f"track-{number:03d}", f"band-{artist:03d}", f"Band {artist}", f"Title {number}", genres[genre]))
    labels = folder / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([LABEL_COLUMNS, *rows])
    return data, labels
