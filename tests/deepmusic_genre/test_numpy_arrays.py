"""Tests of reading the original project's NumPy archives."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, segments_of

pytestmark = pytest.mark.fast

LENGTH = 32


def _arrays(count: int, first: int, part: str) -> dict[str, Any]:
    padded = np.zeros((count, LENGTH, 24))
    for row in range(count):
        padded[row, :20] = segments_of(analysis(first + row))
    names = np.array(["Jazz", "Hip-Hop"] * count)[:count]
    return {f"Xt_{part}": padded[:, :, :12], f"Xp_{part}": padded[:, :, 12:], f"Y_{part}": names}


def _read(path: Path, **arrays: Any) -> list[Track | Rejection]:
    np.savez_compressed(path, **{name: np.ascontiguousarray(values) for name, values in arrays.items()})
    with path.open("rb") as stream:
        return list(read("a.npz", stream))


def test_tracks_of_every_part_are_read_without_their_padding(tmp_path: Path) -> None:
    items = _read(tmp_path / "a.npz", **_arrays(3, 0, "Train"), **_arrays(2, 3, "Test"))
    assert [item.path for item in items] == [
        *(f"a.npz[Train][{row}]" for row in range(3)),
        *(f"a.npz[Test][{row}]" for row in range(2)),
    ]
    for seed, track in enumerate(items):
        assert isinstance(track, Track)
        np.testing.assert_array_equal(track.segments, segments_of(analysis(seed)))
        assert track.durations is None
        assert track.track_id == track.content_digest()
    assert [track.genre for track in items if isinstance(track, Track)] == [
        "Jazz",
        "Hip-Hop",
        "Jazz",
        "Jazz",
        "Hip-Hop",
    ]


def test_bad_track_is_rejected_with_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    arrays = _arrays(3, 0, "Train")
    arrays["Xp_Train"][1, 2, 3] = 7
    items = _read(tmp_path / "a.npz", **arrays)
    assert [isinstance(item, Rejection) for item in items] == [False, True, False]
    assert isinstance(items[1], Rejection)
    assert (items[1].path, items[1].reason) == ("a.npz[Train][1]", "segments[2].pitches[3] = 7 is outside [0, 1]")


def test_names_that_are_pickled_are_refused(tmp_path: Path) -> None:
    arrays = _arrays(2, 0, "Train")
    items = _read(tmp_path / "a.npz", **{**arrays, "Y_Train": arrays["Y_Train"].astype(object)})
    (item,) = items
    assert isinstance(item, Rejection)
    assert "Python objects" in item.reason


def test_other_archives_are_named(tmp_path: Path) -> None:
    (item,) = _read(tmp_path / "a.npz", weights=np.zeros(3))
    assert isinstance(item, Rejection)
    assert "it has no Xt_Train" in item.reason


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_file_that_is_no_archive_is_rejected(content: bytes) -> None:
    (item,) = read("a.npz", io.BytesIO(content))
    assert isinstance(item, Rejection)
    assert "not a readable NumPy archive" in item.reason


def test_a_track_that_is_kept_twice_ends_where_the_two_begin_to_differ(tmp_path: Path) -> None:
    arrays = _arrays(2, 0, "Train")
    rng = np.random.default_rng(0)
    both = np.stack([arrays["Xt_Train"], arrays["Xp_Train"]], axis=-1)
    # Arrays that were made without being filled hold what was in memory before, each something else.
    for values in (arrays["Xt_Train"], arrays["Xp_Train"], both):
        values[0, 20:] = rng.random(values[0, 20:].shape)
    items = _read(tmp_path / "a.npz", **arrays, X_Train=both)
    assert [len(item.segments) for item in items if isinstance(item, Track)] == [20, 20]


def test_another_array_of_that_name_changes_nothing(tmp_path: Path) -> None:
    for other in (np.ones((2, LENGTH, 12, 2)), np.ones((2, 5))):
        items = _read(tmp_path / "a.npz", **_arrays(2, 0, "Train"), X_Train=other)
        assert [len(item.segments) for item in items if isinstance(item, Track)] == [20, 20]


def test_the_two_copies_may_be_of_different_precision(tmp_path: Path) -> None:
    arrays = _arrays(2, 0, "Train")
    both = np.stack([arrays["Xt_Train"], arrays["Xp_Train"]], axis=-1).astype(np.float32)
    arrays = {name: values + 0.1 if name == "Xt_Train" else values for name, values in arrays.items()}
    both[..., 0] = arrays["Xt_Train"]
    both[0, 20:] = 0.5
    items = _read(tmp_path / "a.npz", **arrays, X_Train=both)
    assert [len(item.segments) for item in items if isinstance(item, Track)] == [20, LENGTH]


@pytest.mark.parametrize("name", ["Y", "Xp", "X"])
def test_arrays_of_different_lengths_are_rejected_whole(tmp_path: Path, name: str) -> None:
    arrays = _arrays(3, 0, "Train")
    arrays["X_Train"] = np.stack([arrays["Xt_Train"], arrays["Xp_Train"]], axis=-1)
    items = _read(tmp_path / "a.npz", **{**arrays, f"{name}_Train": arrays[f"{name}_Train"][:2]})
    (item,) = items
    assert isinstance(item, Rejection)
    assert "differ in length: Xt_Train 3" in item.reason
    assert f"{name}_Train 2" in item.reason


def test_missing_array_is_named(tmp_path: Path) -> None:
    arrays = _arrays(2, 0, "Train")
    del arrays["Y_Train"]
    (item,) = _read(tmp_path / "a.npz", **arrays)
    assert isinstance(item, Rejection)
    assert item.reason == "it has no Y_Train"
