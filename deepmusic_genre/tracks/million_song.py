"""The Million Song Dataset's HDF5 files: one track a file, or many in an aggregate file.

Bertin-Mahieux, Ellis, Whitman, Lamere: The Million Song Dataset, ISMIR 2011.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np

from deepmusic_genre.tracks.source import MAX_ANALYSIS_BYTES, read_bounded
from deepmusic_genre.tracks.track import ECHO_NEST, N_COEFFICIENTS, InvalidTrack, Rejection, Track, segment_matrix

_DATASETS = (
    "analysis/songs",
    "metadata/songs",
    "analysis/segments_start",
    "analysis/segments_timbre",
    "analysis/segments_pitches",
)


class MillionSongH5:
    """Reads Echo Nest's own segments.

    The data set keeps no segment durations: they are the differences of the starts, the last one runs to the
    track's end.
    """

    name = "million_song"
    suffixes = (".h5", ".hdf5")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each of the file's tracks, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            content = read_bounded(stream)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
            return
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                yield from self._tracks(path, file)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except Exception as error:
            # h5py has no list of what it raises for a file that is damaged or laid out differently.
            yield Rejection(path, f"not a Million Song file: {error}")

    def _tracks(self, path: str, file: h5py.File) -> Iterator[Track | Rejection]:
        missing = [name for name in _DATASETS if name not in file]
        if missing:
            raise InvalidTrack(f"not a Million Song file: it has no {', '.join(missing)}")
        songs = _bounded(file["analysis/songs"])[:]
        metadata = _bounded(file["metadata/songs"])[:]
        if not len(songs) or len(songs) != len(metadata):
            raise InvalidTrack(f"{len(songs)} rows in analysis/songs, {len(metadata)} in metadata/songs")
        ends = {
            name: [*songs[f"idx_segments_{name}"][1:].tolist(), len(file[f"analysis/segments_{name}"])]
            for name in ("start", "timbre", "pitches")
        }
        for row, (song, meta) in enumerate(zip(songs, metadata, strict=True)):
            track_id = _text(song["track_id"])
            try:
                arrays = {
                    name: _rows(file, name, int(song[f"idx_segments_{name}"]), stops[row])
                    for name, stops in ends.items()
                }
                yield self._track(track_id, float(song["duration"]), arrays, meta)
            except InvalidTrack as error:
                yield Rejection(path, str(error), track_id)

    def _track(self, track_id: str, duration: float, arrays: dict[str, Any], meta: Any) -> Track:
        for name in ("timbre", "pitches"):
            if arrays[name].shape[1:] != (N_COEFFICIENTS,):
                raise InvalidTrack(f"segments_{name} has vectors of {arrays[name].shape[1:]}, not {N_COEFFICIENTS}")
        # A last segment that starts at the very end would be a rounding error below zero.
        ends = np.append(arrays["start"][1:], max(duration, *arrays["start"][-1:], 0.0))
        durations = ends - arrays["start"]
        matrix = segment_matrix(arrays["timbre"], arrays["pitches"], durations)
        return Track(
            track_id,
            self.name,
            duration,
            matrix,
            ECHO_NEST,
            artist_id=_text(meta["artist_id"]),
            artist=_text(meta["artist_name"]),
            title=_text(meta["title"]),
            durations=durations[: len(matrix)],
        )


def _rows(file: h5py.File, name: str, start: int, stop: int) -> Any:
    values = file[f"analysis/segments_{name}"]
    if not 0 <= start <= stop <= len(values):
        raise InvalidTrack(f"idx_segments_{name} runs from {start} to {stop}, of {len(values)} rows there are")
    return _bounded(values)[start:stop]


def _bounded(values: h5py.Dataset) -> h5py.Dataset:
    # A file of some kilobytes can declare, and compress, any number of values.
    if values.size * values.dtype.itemsize > MAX_ANALYSIS_BYTES:
        raise InvalidTrack(f"{values.name} is larger than {MAX_ANALYSIS_BYTES >> 20} MiB")
    return values


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
