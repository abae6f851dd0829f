"""The Million Song Dataset's HDF5 files: one track a file, or many in an aggregate file.

Bertin-Mahieux, Ellis, Whitman, Lamere: The Million Song Dataset, ISMIR 2011.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np

from deepmusic_genre.tracks.audio_features import known_audio_features
from deepmusic_genre.tracks.source import MAX_ANALYSIS_BYTES, seekable
from deepmusic_genre.tracks.streams import require_ratio
from deepmusic_genre.tracks.track import ECHO_NEST, N_COEFFICIENTS, InvalidTrack, Rejection, Track, segment_matrix

_SEGMENTS = ("analysis/segments_start", "analysis/segments_timbre", "analysis/segments_pitches")
_DATASETS = ("analysis/songs", "metadata/songs", *_SEGMENTS)
_ROWS = 256
# Danceability and energy are columns, too, but 0 in every song.
_AUDIO_FEATURES = ("key", "loudness", "mode", "tempo", "time_signature")


class MillionSongH5:
    """Reads Echo Nest's own segments, song by song: an aggregate on the local disk may have any size.

    The data set keeps no segment durations: they are the differences of the starts, the last one runs to the
    track's end.
    """

    name = "million_song"
    suffixes = (".h5", ".hdf5")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each of the file's tracks, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            with h5py.File(seekable(stream), "r") as file:
                yield from self._tracks(path, file)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except Exception as error:
            # h5py has no list of what it raises for a file that is damaged or laid out differently.
            yield Rejection(path, f"not a Million Song file: {error}")

    def _tracks(self, path: str, file: h5py.File) -> Iterator[Track | Rejection]:
        _require_datasets(file)
        songs, metadata = file["analysis/songs"], file["metadata/songs"]
        if not len(songs) or len(songs) != len(metadata):
            raise InvalidTrack(f"{len(songs)} rows in analysis/songs, {len(metadata)} in metadata/songs")
        for first in range(0, len(songs), _ROWS):
            block, metas = songs[first : first + _ROWS + 1], metadata[first : first + _ROWS]
            for row, meta in enumerate(metas):
                following = block[row + 1] if row + 1 < len(block) else None
                yield self._song(path, file, (block[row], following, meta))

    def _song(self, path: str, file: h5py.File, rows: tuple[Any, Any, Any]) -> Track | Rejection:
        song, following, meta = rows
        track_id = _text(song["track_id"])
        try:
            arrays = {name: _rows(file, name, song, following) for name in ("start", "timbre", "pitches")}
            return self._track(track_id, song, arrays, meta)
        except InvalidTrack as error:
            return Rejection(path, str(error), track_id)

    def _track(self, track_id: str, song: Any, arrays: dict[str, Any], meta: Any) -> Track:
        duration = float(song["duration"])
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
            audio_features=known_audio_features(_columns(song, _AUDIO_FEATURES)),
        )


def _require_datasets(file: h5py.File) -> None:
    missing = [name for name in _DATASETS if name not in file]
    if missing == list(_SEGMENTS):
        raise InvalidTrack("a Million Song summary file: it has facts of songs, but no segments: take the full one")
    if missing:
        raise InvalidTrack(f"not a Million Song file: it has no {', '.join(missing)}")
    for name in _DATASETS:
        values = file[name]
        # A file of some kilobytes can declare any number of values, and compress as many into a chunk.
        require_ratio(values.size * values.dtype.itemsize, values.id.get_storage_size())
        _require_bounded(name, math.prod(values.chunks or ()) * values.dtype.itemsize)


def _rows(file: h5py.File, name: str, song: Any, following: Any) -> Any:
    values, index = file[f"analysis/segments_{name}"], f"idx_segments_{name}"
    start = operator.index(song[index])
    stop = len(values) if following is None else operator.index(following[index])
    if not 0 <= start <= stop <= len(values):
        raise InvalidTrack(f"{index} runs from {start} to {stop}, of {len(values)} rows there are")
    _require_bounded(values.name, (stop - start) * math.prod(values.shape[1:]) * values.dtype.itemsize)
    return values[start:stop]


def _require_bounded(name: str, size: int) -> None:
    if size > MAX_ANALYSIS_BYTES:
        raise InvalidTrack(f"{name} is larger than {MAX_ANALYSIS_BYTES >> 20} MiB")


def _columns(song: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: song[name].tolist() for name in names if name in song.dtype.names}


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
