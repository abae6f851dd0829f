"""Tests of the splits that artists and tracks are given, and keep."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from components.track_example_gen.assignment import Assignment, load_assignment, save_assignment, with_splits
from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.splits import SPLITS, Group, SplitBy, assign_splits
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import ECHO_NEST, Track

pytestmark = pytest.mark.fast

NOTHING = Assignment()


def _track(track_id: str, genre: str = "Jazz", artist: str = "") -> TrackOutcome:
    return TrackOutcome(track_id, track_id, index=0, genre=genre, genres=(genre,), artist=artist)


def _catalogue(artists: Mapping[str, int], seed: int = 0) -> list[TrackOutcome]:
    """So many artists of each genre, with one to thirty tracks each."""
    random = np.random.default_rng(seed)
    return [
        _track(f"{genre} {artist} {number}", genre, f"{genre} {artist}")
        for genre, count in artists.items()
        for artist in range(count)
        for number in range(random.integers(1, 31))
    ]


def _splits(
    tracks: Sequence[TrackOutcome], split_by: SplitBy = "artist", given: Assignment = NOTHING
) -> dict[str, str]:
    return {track.track_id: track.split for track in with_splits(tracks, split_by, given)[0]}


def _counts(tracks: Sequence[TrackOutcome], splits: Mapping[str, str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        found[track.genre][splits[track.track_id]] += 1
    return found


@pytest.mark.parametrize("seed", range(5))
def test_splits_are_about_8_to_1_to_1_in_every_genre(seed: int) -> None:
    tracks = _catalogue({"Jazz": 60, "Rock": 200, "Polka": 40}, seed)
    for counts in _counts(tracks, _splits(tracks)).values():
        for split in ("validation", "test"):
            # An artist has up to 30 tracks: a split stops short of its share by half an artist at most.
            assert counts[split] / counts.total() == pytest.approx(0.1, abs=0.025)


@pytest.mark.parametrize("seed", range(20))
def test_genre_of_three_artists_is_in_every_split(seed: int) -> None:
    tracks = _catalogue({"Polka": 3, "Folk": 4, "Jazz": 9, "Rock": 50}, seed)
    assert all(set(counts) == set(SPLITS) for counts in _counts(tracks, _splits(tracks)).values())


def test_no_artist_is_in_two_splits() -> None:
    # Half of them in two genres.
    tracks = [_track(f"{number}", "Jazz" if number % 3 else "Rock", f"{number % 50}") for number in range(600)]
    splits = _splits(tracks)
    assert len({(track.artist, splits[track.track_id]) for track in tracks}) == 50


def test_artist_alone_in_a_genre_is_learned() -> None:
    tracks = _catalogue({"Polka": 1, "Jazz": 9})
    assert set(_counts(tracks, _splits(tracks))["Polka"]) == {"train"}


def test_genre_of_two_artists_is_learned_and_measured() -> None:
    tracks = _catalogue({"Polka": 2, "Jazz": 9})
    assert set(_counts(tracks, _splits(tracks))["Polka"]) == {"train", "test"}


@pytest.mark.parametrize("split_by", ["artist", "track"])
def test_three_tracks_of_unknown_artists_are_in_every_split(split_by: SplitBy) -> None:
    assert sorted(_splits([_track("a"), _track("b"), _track("c")], split_by).values()) == sorted(SPLITS)


def test_no_split_is_empty_though_each_artist_is_alone_in_a_genre() -> None:
    tracks = [_track(f"{genre} {number}", genre, genre) for genre in ("Jazz", "Rock", "Folk", "Pop") for number in "ab"]
    assert Counter(_splits(tracks).values()) == {"train": 4, "validation": 2, "test": 2}


def test_two_artists_of_a_genre_each_leave_train_two_genres() -> None:
    tracks = [_track(genre, genre, genre) for genre in ("Jazz", "Rock")]
    assert set(_splits(tracks).values()) == {"train"}


def test_split_by_track_separates_an_artists_tracks() -> None:
    tracks = [_track(f"{number}", artist="Ann") for number in range(100)]
    assert Counter(_splits(tracks, "track").values()) == {"train": 80, "validation": 10, "test": 10}
    assert set(_splits(tracks, "artist").values()) == {"train"}


def test_splits_depend_on_the_tracks_alone_not_on_their_order() -> None:
    tracks = _catalogue({"Jazz": 20, "Rock": 30})
    assert _splits(tracks) == _splits(tracks[::-1])


def test_splits_stay_the_same_from_version_to_version() -> None:
    # A track that changed its split would have been trained on before it is tested on.
    groups = {Group("track", f"T{number}"): {"Jazz": 1} for number in range(20)}
    others = {group.name: split for group, split in assign_splits(groups, {}).items() if split != "train"}
    assert others == {"T0": "test", "T6": "validation", "T16": "validation", "T18": "test"}


# From run to run


@pytest.mark.parametrize("split_by", ["artist", "track"])
def test_no_known_artist_moves_when_tracks_are_added(split_by: SplitBy) -> None:
    tracks = _catalogue({"Jazz": 40, "Rock": 60})
    before, given = with_splits(tracks, split_by, NOTHING)
    more = [
        _track(f"new {number}", track.genre, track.artist if number % 2 else f"new {number}")
        for number, track in enumerate(tracks[:: len(tracks) // 100])
    ]
    after = _splits([*more, *tracks], split_by, given)
    assert {track.track_id: track.split for track in before}.items() <= after.items()
    if split_by == "artist":
        of_artist = {track.artist: track.split for track in before}
        assert all(after[track.track_id] == of_artist.get(track.artist, after[track.track_id]) for track in more)


def test_artist_that_comes_back_has_its_split_still() -> None:
    tracks = _catalogue({"Jazz": 30})
    before, given = with_splits(tracks, "artist", NOTHING)
    _, kept = with_splits(tracks[: len(tracks) // 2], "artist", given)
    assert kept == given
    assert _splits(tracks, given=kept) == {track.track_id: track.split for track in before}


def test_artist_that_is_called_otherwise_now_stays_where_its_tracks_are() -> None:
    tracks = _catalogue({"Jazz": 30})
    before, given = with_splits(tracks, "artist", NOTHING)
    renamed = [replace(track, artist=f"AR {track.artist}") for track in tracks]
    assert _splits(renamed, given=given) == {track.track_id: track.split for track in before}


def test_what_is_no_example_has_no_split() -> None:
    left_out = [TrackOutcome("x", "x", "damaged"), TrackOutcome("y", "y")]
    splits, given = with_splits([*left_out, _track("a"), _track("b")], "artist", NOTHING)
    assert splits[:2] == left_out
    assert set(given.tracks) == {"a", "b"}


def test_assignment_is_kept_in_a_file_for_each_way_to_split(tmp_path: Path) -> None:
    _, given = with_splits([_track("a", artist="Ann"), _track("b"), _track("c")], "artist", NOTHING)
    assert load_assignment(str(tmp_path / "splits"), "artist") == NOTHING
    save_assignment(given, str(tmp_path / "splits"), "artist")
    save_assignment(given, str(tmp_path / "splits"), "artist")
    assert load_assignment(str(tmp_path / "splits"), "artist") == given
    assert load_assignment(str(tmp_path / "splits"), "track") == NOTHING


@pytest.mark.parametrize("content", ["{", '{"artists": {"Ann": "dev"}}'])
def test_damaged_assignment_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "artist.json").write_text(content, encoding="utf-8")
    with pytest.raises(PipelineInputError, match=r"artist\.json, the splits of earlier runs, is damaged"):
        load_assignment(str(tmp_path), "artist")


@pytest.mark.parametrize(("one", "other"), [("The Band", "the  BAND "), ("Bj\u00f6rk", "BJ\u00d6RK")])
def test_an_artist_is_one_however_the_name_is_written(one: str, other: str) -> None:
    tracks = [Track("t", "s", 1.0, np.ones((1, 24), np.float32), ECHO_NEST, artist=name) for name in (one, other)]
    assert tracks[0].artist_key == tracks[1].artist_key
