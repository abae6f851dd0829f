"""Tests of the split that a track falls into."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from components.track_example_gen.splits import SPLITS, SplitBy, split_of
from deepmusic_genre.tracks.track import ECHO_NEST, Track

pytestmark = pytest.mark.fast


def _track(track_id: str = "A", segments: int = 3, seed: int = 0, **texts: Any) -> Track:
    values = np.random.default_rng(seed).random((segments, 24), np.float32)
    return Track(track_id, "audio_analysis", 12.5, values, ECHO_NEST, **texts)


@pytest.mark.parametrize("split_by", ["artist", "track"])
def test_splits_are_about_8_to_1_to_1(split_by: SplitBy) -> None:
    total = 5000
    tracks = (_track(f"track {number}", 1, artist_id=f"artist {number}") for number in range(total))
    counts = Counter(split_of(track, split_by) for track in tracks)
    assert counts["train"] / total == pytest.approx(0.8, abs=0.02)
    assert counts["validation"] / total == pytest.approx(0.1, abs=0.015)
    assert counts["test"] / total == pytest.approx(0.1, abs=0.015)


def test_split_by_artist_depends_on_the_artist_alone() -> None:
    for number in range(50):
        tracks = [
            _track(f"T{track}", seed=track, artist_id=f"artist {number}", artist=f"{track}") for track in range(5)
        ]
        assert len({split_of(track, "artist") for track in tracks}) == 1


def test_split_by_track_separates_an_artists_tracks() -> None:
    tracks = [_track(f"T{number}", artist_id="1") for number in range(100)]
    assert {split_of(track, "track") for track in tracks} == set(SPLITS)


@pytest.mark.parametrize("known", [{"artist": "Ann"}, {"artist_id": "Ann"}])
def test_artist_is_known_by_id_or_name(known: dict[str, Any]) -> None:
    assert len({split_of(_track(f"T{number}", **known), "artist") for number in range(50)}) == 1


def test_track_of_an_unknown_artist_is_its_own_artist() -> None:
    tracks = [_track(f"T{number}") for number in range(100)]
    assert [split_of(track, "artist") for track in tracks] == [split_of(track, "track") for track in tracks]


def test_splits_stay_the_same_from_version_to_version() -> None:
    # A track that changed its split would have been trained on before it is tested on.
    tracks = [_track(f"T{number}") for number in range(12)]
    others = {track.track_id: split for track in tracks if (split := split_of(track, "track")) != "train"}
    assert others == {"T0": "test", "T6": "test", "T11": "validation"}


@pytest.mark.parametrize(("one", "other"), [("The Band", "the  BAND "), ("Bj\u00f6rk", "BJ\u00d6RK")])
def test_an_artist_is_one_however_the_name_is_written(one: str, other: str) -> None:
    tracks = [Track("t", "s", 1.0, np.ones((1, 24), np.float32), ECHO_NEST, artist=name) for name in (one, other)]
    assert tracks[0].artist_key == tracks[1].artist_key
