"""Tests of reading Million Song files: what is read, and the reason for everything that is not."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusic_genre.tracks.million_song import MillionSongH5
from deepmusic_genre.tracks.track import N_COEFFICIENTS, Rejection, Track
from tests.support.tracks import analysis, durations_of, segments_of, write_h5

pytestmark = pytest.mark.fast

H5 = MillionSongH5()
SEGMENTS = 6


def _read(content: bytes) -> list[Track | Rejection]:
    return list(H5.read("folder/file", io.BytesIO(content)))


def _h5(tmp_path: Path, change: Callable[[h5py.File], object] = lambda _: None) -> list[Track | Rejection]:
    """What is read of a changed file of the tracks A and B."""
    path = write_h5(tmp_path / "file.h5", ["A", "B"], SEGMENTS)
    with h5py.File(path, "r+") as file:
        change(file)
    return _read(path.read_bytes())


def _replace(name: str, compute: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        value = compute(file[name][:])
        del file[name]
        file[name] = value

    return change


def _song(row: int, **values: float) -> Callable[[h5py.File], None]:
    def compute(songs: Any) -> Any:
        for column, value in values.items():
            songs[column][row] = value
        return songs

    return _replace("analysis/songs", compute)


def _outcomes(items: list[Track | Rejection]) -> list[tuple[str, str]]:
    """The track id of each, with the reason if it was rejected."""
    return [(item.track_id, item.reason if isinstance(item, Rejection) else "") for item in items]


def test_h5_of_one_track_is_read(tmp_path: Path) -> None:
    (track,) = _read(write_h5(tmp_path / "a.h5", ["TRAAA"]).read_bytes())
    assert isinstance(track, Track)
    np.testing.assert_array_equal(track.segments, segments_of(analysis(0)))
    assert track.duration == analysis(0)["track"]["duration"]
    assert durations_of(track) == pytest.approx([segment["duration"] for segment in analysis(0)["segments"]], abs=2e-5)
    texts = (track.track_id, track.source, track.artist_id, track.artist, track.title, track.genre)
    assert texts == ("TRAAA", "million_song", "AR00000", "Artist 0", "Title 0", "")


def test_h5_aggregate_is_read_track_by_track(tmp_path: Path) -> None:
    tracks = _read(write_h5(tmp_path / "a.h5", ["A", "B", "C"]).read_bytes())
    assert [track.track_id for track in tracks] == ["A", "B", "C"]
    for number, track in enumerate(tracks):
        assert isinstance(track, Track)
        np.testing.assert_array_equal(track.segments, segments_of(analysis(number)))
        assert track.title == f"Title {number}"


@pytest.mark.parametrize("content", [b"", b"{}", b"no HDF5 at all" * 100])
def test_file_that_is_no_h5_is_rejected(content: bytes) -> None:
    assert [outcome[1][:23] for outcome in _outcomes(_read(content))] == ["not a Million Song file"]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_h5_is_rejected(tmp_path: Path, share: float) -> None:
    content = write_h5(tmp_path / "a.h5", ["A", "B"]).read_bytes()
    (item,) = _read(content[: int(share * len(content))])
    assert isinstance(item, Rejection)
    assert "not a Million Song file" in item.reason


@pytest.mark.parametrize(
    "missing",
    ["analysis/songs", "metadata/songs", "analysis/segments_start", "analysis/segments_timbre", "metadata"],
)
def test_h5_without_a_dataset_is_rejected_naming_it(tmp_path: Path, missing: str) -> None:
    (item,) = _h5(tmp_path, lambda file: file.pop(missing))
    assert isinstance(item, Rejection)
    assert Path(missing).name in item.reason


def test_h5_without_a_column_is_rejected_naming_it(tmp_path: Path) -> None:
    (item,) = _h5(tmp_path, _replace("metadata/songs", lambda songs: songs[["artist_id", "title"]].copy()))
    assert isinstance(item, Rejection)
    assert "artist_name" in item.reason


def _group(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return change


def _float_indices(songs: Any) -> Any:
    kinds = [(name, "f8" if name.startswith("idx") else songs.dtype[name]) for name in songs.dtype.names]
    return songs.astype(kinds)


@pytest.mark.parametrize(
    "change",
    [
        _group("analysis/songs"),
        _group("analysis/segments_timbre"),
        _replace("analysis/songs", lambda _: 1.0),
        _replace("analysis/songs", lambda _: [1.0, 2.0]),
        _replace("analysis/songs", _float_indices),
        _replace("analysis/segments_start", lambda _: 1.0),
        _replace("analysis/segments_start", lambda start: np.stack([start, start], 1)),
        _replace("analysis/segments_timbre", lambda timbre: np.full(timbre.shape, b"text")),
    ],
    ids=["group", "group2", "scalar", "plain", "float index", "scalar start", "2d start", "text"],
)
def test_h5_of_another_layout_is_rejected(tmp_path: Path, change: Callable[[h5py.File], None]) -> None:
    items = _h5(tmp_path, change)
    assert items
    assert all(isinstance(item, Rejection) for item in items)


@pytest.mark.parametrize("name", ["timbre", "pitches"])
def test_h5_vectors_of_another_length_are_rejected(tmp_path: Path, name: str) -> None:
    items = _outcomes(_h5(tmp_path, _replace(f"analysis/segments_{name}", lambda vectors: vectors[:, :11])))
    assert [track_id for track_id, _ in items] == ["A", "B"]
    assert all(re.search(rf"segments_{name}\b.*\b11\b.*\b12\b", reason) for _, reason in items)


def test_h5_decreasing_starts_reject_that_track_alone(tmp_path: Path) -> None:
    def swap(start: Any) -> Any:
        start[[1, 2]] = start[[2, 1]]
        return start

    a, b = _outcomes(_h5(tmp_path, _replace("analysis/segments_start", swap)))
    assert re.fullmatch(r"segments\[1\]\.duration = -\S+ is negative", a[1])
    assert b == ("B", "")


@pytest.mark.parametrize(("name", "value"), [("pitches", 1.7), ("pitches", -0.1), ("timbre", np.nan)])
def test_h5_bad_value_rejects_that_track_alone_with_its_place(tmp_path: Path, name: str, value: float) -> None:
    def spoil(vectors: Any) -> Any:
        vectors[SEGMENTS + 2, 5] = value
        return vectors

    a, b = _outcomes(_h5(tmp_path, _replace(f"analysis/segments_{name}", spoil)))
    assert a == ("A", "")
    assert f"segments[2].{name}[5] = {value}" in b[1]


def test_h5_last_segment_that_starts_at_the_end_is_no_fault(tmp_path: Path) -> None:
    # The data set rounds the two apart from each other.
    last = analysis(0, SEGMENTS)["segments"][-1]["start"]
    assert _outcomes(_h5(tmp_path, _song(0, duration=last - 0.001))) == [("A", ""), ("B", "")]


@pytest.mark.parametrize("duration", [-5.0, np.nan, np.inf])
def test_h5_impossible_duration_rejects_that_track_alone(tmp_path: Path, duration: float) -> None:
    a, b = _outcomes(_h5(tmp_path, _song(0, duration=duration)))
    assert "duration" in a[1]
    assert b == ("B", "")


@pytest.mark.parametrize("index", [1000, -3])
@pytest.mark.parametrize("names", [["timbre"], ["start", "timbre", "pitches"]])
def test_h5_index_outside_its_array_is_rejected(tmp_path: Path, index: int, names: list[str]) -> None:
    items = _outcomes(_h5(tmp_path, _song(1, **{f"idx_segments_{name}": index for name in names})))
    assert items[-1][0] == "B"
    assert "idx_segments_" in items[-1][1]


def test_h5_index_that_goes_back_is_rejected(tmp_path: Path) -> None:
    # A's segments end where B's begin, before they began themselves.
    change = _song(0, idx_segments_start=8, idx_segments_timbre=8, idx_segments_pitches=8)
    a, b = _outcomes(_h5(tmp_path, change))
    assert "idx_segments_" in a[1]
    assert b == ("B", "")


def test_h5_with_fewer_metadata_than_songs_is_rejected_naming_them(tmp_path: Path) -> None:
    items = _outcomes(_h5(tmp_path, _replace("metadata/songs", lambda rows: rows[:1])))
    assert "metadata" in items[-1][1]


def test_h5_without_tracks_is_rejected(tmp_path: Path) -> None:
    def empty(file: h5py.File) -> None:
        _replace("analysis/songs", lambda rows: rows[:0])(file)
        _replace("metadata/songs", lambda rows: rows[:0])(file)

    (item,) = _h5(tmp_path, empty)
    assert isinstance(item, Rejection)


def test_h5_track_without_segments_is_rejected(tmp_path: Path) -> None:
    def empty(file: h5py.File) -> None:
        for name in ("start", "timbre", "pitches"):
            _replace(f"analysis/segments_{name}", lambda values: values[:SEGMENTS])(file)

    (_, read), (track_id, reason) = _outcomes(_h5(tmp_path, empty))
    assert (read, track_id) == ("", "B")
    assert reason.startswith("it has no segments")


def test_small_h5_that_declares_much_is_rejected_unread(tmp_path: Path) -> None:
    def declare(file: h5py.File) -> None:
        del file["analysis/segments_timbre"]
        file["analysis"].create_dataset("segments_timbre", (1 << 27, 12), "f8", chunks=(1024, 12))

    items = _h5(tmp_path, declare)
    assert (tmp_path / "file.h5").stat().st_size < 1 << 20
    assert items
    assert all(isinstance(item, Rejection) and "decompression bomb" in item.reason for item in items)


def test_small_h5_whose_one_chunk_is_huge_is_rejected_unread(tmp_path: Path) -> None:
    def declare(file: h5py.File) -> None:
        del file["analysis/segments_timbre"]
        shape = (2 * SEGMENTS, N_COEFFICIENTS)
        file["analysis"].create_dataset("segments_timbre", shape, "f8", chunks=(1 << 22, 12), maxshape=(None, 12))

    (item,) = _h5(tmp_path, declare)
    assert isinstance(item, Rejection)
    assert "larger than 256 MiB" in item.reason


def test_aggregate_on_the_disk_may_be_larger_than_what_is_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "a.h5", [f"T{number}" for number in range(20)], SEGMENTS)
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 10_000)
    monkeypatch.setattr("deepmusic_genre.tracks.million_song.MAX_ANALYSIS_BYTES", 10_000)
    monkeypatch.setattr("deepmusic_genre.tracks.million_song._ROWS", 8)
    assert path.stat().st_size > 10_000
    with path.open("rb") as stream:
        tracks = list(H5.read("a.h5", stream))
    assert [track.track_id for track in tracks] == [f"T{number}" for number in range(20)]
    for number, track in enumerate(tracks):
        assert isinstance(track, Track)
        np.testing.assert_array_equal(track.segments, segments_of(analysis(number, SEGMENTS)))
    (item,) = _read(path.read_bytes())
    assert isinstance(item, Rejection)


def test_h5_summary_is_named(tmp_path: Path) -> None:
    def summarize(file: h5py.File) -> None:
        for name in ("start", "timbre", "pitches"):
            del file[f"analysis/segments_{name}"]

    (item,) = _h5(tmp_path, summarize)
    assert isinstance(item, Rejection)
    assert "a Million Song summary file" in item.reason


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.binary())
def test_arbitrary_bytes_as_hdf5_give_one_rejection(content: bytes) -> None:
    (item,) = _read(content)
    assert isinstance(item, Rejection)
