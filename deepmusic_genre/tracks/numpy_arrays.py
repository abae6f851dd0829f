"""NumPy archives of the original project: ``Xt_Train`` (timbre), ``Xp_Train`` (pitches), ``Y_Train`` (genre names)."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import IO, Any, BinaryIO

import numpy as np

from deepmusic_genre.tracks.source import require_bounded, seekable
from deepmusic_genre.tracks.streams import require_ratio
from deepmusic_genre.tracks.track import ECHO_NEST, InvalidTrack, Rejection, Track, segment_matrix

_PARTS = ("Train", "Val", "Test")


class NumpyArrays:
    """Reads arrays of shape ``[tracks, segments, 12]``, track by track; zeros after a track's last segment are padding.

    Where ``X_Train`` holds the same once more, ``[tracks, segments, 12, 2]``, a track ends where the two begin to
    differ. They hold no ids and no durations: a track is called by its content's hash.
    """

    name = "numpy_arrays"
    suffixes = (".npz",)

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each track, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            with zipfile.ZipFile(seekable(stream)) as archive:
                parts = [part for part in _PARTS if f"Xt_{part}.npy" in archive.namelist()]
                if not parts:
                    raise InvalidTrack("not the original project's arrays: it has no Xt_Train, Xt_Val or Xt_Test")
                for part in parts:
                    yield from self._part(path, archive, part)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except Exception as error:
            # Neither zipfile nor NumPy has a list of what it raises for a damaged file.
            yield Rejection(path, f"not a readable NumPy archive: {error}")

    def _part(self, path: str, archive: zipfile.ZipFile, part: str) -> Iterator[Track | Rejection]:
        names = [f"{name}_{part}" for name in ("Xt", "Xp", "Y")]
        twice = [name for name in (f"X_{part}",) if f"{name}.npy" in archive.namelist()]
        _require_equally_many(archive, [*names, *twice])
        both = _rows(archive, twice[0]) if twice else repeat(None)
        columns = [_rows(archive, name) for name in names]
        for index, (timbre, pitches, genre) in enumerate(zip(*columns, strict=True)):
            place = f"{path}[{part}][{index}]"
            end = _end(timbre, pitches, next(both, None))
            try:
                matrix = segment_matrix(timbre[:end], pitches[:end], None)
                track = Track("", self.name, 0.0, matrix, ECHO_NEST, genre=_text(genre), path=place)
                yield replace(track, track_id=track.content_digest())
            except InvalidTrack as error:
                yield Rejection(place, str(error))


def _require_equally_many(archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
    if missing:
        raise InvalidTrack(f"it has no {' and no '.join(missing)}")
    counts = {}
    for name in names:
        with archive.open(f"{name}.npy") as stream:
            counts[name] = _header(stream, name)[0][0]
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise InvalidTrack(f"its arrays are not of the same tracks, as they differ in length: {told}")


def _end(timbre: Any, pitches: Any, both: Any) -> int:
    """How many segments a track has, where it is kept twice: behind it, each array has what was in memory before."""
    if both is None or both.shape != (*timbre.shape, 2):
        return len(timbre)
    with np.errstate(over="ignore"):
        # The two may be kept in different precision.
        once, again = np.stack([timbre, pitches], axis=-1).astype(np.float32), both.astype(np.float32)
    differs = (once != again).any(axis=(1, 2))
    # Where nothing is alike, the second array is of other values.
    return int(differs.argmax()) or len(timbre) if differs.any() else len(timbre)


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape of an array that is kept row by row, and the type of its values; the stream is then at its values."""
    # The type stubs have no types for these two.
    if np.lib.format.read_magic(stream) != (1, 0):  # type: ignore[no-untyped-call]
        raise InvalidTrack(f"{name} is of a form of .npy that is not read")
    shape, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    if kind.hasobject:
        raise InvalidTrack(f"{name} holds Python objects, which are not read: save it as an array of dtype str")
    if is_fortran or not shape:
        raise InvalidTrack(f"{name} is not kept row by row: save it by np.ascontiguousarray")
    return shape, kind


def _rows(archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    """An array's rows, of which memory holds one."""
    member = archive.getinfo(f"{name}.npy")
    require_ratio(member.file_size, member.compress_size)
    with archive.open(member) as stream:
        shape, kind = _header(stream, name)
        size = math.prod(shape[1:]) * kind.itemsize
        require_bounded(size)
        for _ in range(shape[0] if size else 0):
            content = stream.read(size)
            if len(content) < size:
                raise InvalidTrack(f"{name} ends early")
            yield np.frombuffer(content, kind).reshape(shape[1:])


def _text(value: Any) -> str:
    name = value.item() if value.size == 1 else ""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
