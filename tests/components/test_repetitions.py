"""Tests of tracks that are there several times, in one genre or in several."""

from typing import Any

import pytest

from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.repetitions import decide_repetitions
from components.track_example_gen.several_genres import SeveralGenres, genre_of

pytestmark = pytest.mark.fast

SETTINGS: tuple[SeveralGenres, ...] = ("drop", "first", "majority")


def _example(path: str, track_id: str, digest: str = "1", genre: str = "Jazz", **more: Any) -> TrackOutcome:
    return TrackOutcome(path, track_id, split="train", genre=genre, genres=(genre,), digest=digest, index=0, **more)


def _kept(outcomes: list[TrackOutcome]) -> list[str]:
    return [outcome.path for outcome in outcomes if outcome.split]


EXAMPLE = _example("a.json", "A")


@pytest.mark.parametrize("setting", SETTINGS)
def test_first_of_two_equal_tracks_stays(setting: SeveralGenres) -> None:
    first, second = decide_repetitions([EXAMPLE, _example("b.json", "A")], setting)
    assert first == EXAMPLE
    assert (second.path, second.track_id, second.split) == ("b.json", "A", "")
    assert (second.left_out, second.reason) == ("repeated", "track id A again, with the same content as a.json")


def test_other_content_under_the_same_id_is_a_fault() -> None:
    first, second = decide_repetitions([EXAMPLE, _example("b.json", "A", "2")], "drop")
    assert first == EXAMPLE
    assert (second.left_out, second.reason) == ("rejected", "track id A again, with other content as a.json")


def test_third_one_is_compared_with_the_one_that_stays() -> None:
    _, _, third = decide_repetitions([EXAMPLE, _example("2.json", "A", "2"), _example("1.json", "A")], "drop")
    assert third.reason == "track id A again, with the same content as a.json"


def test_equal_content_under_another_id_is_a_repetition() -> None:
    first, second = decide_repetitions([EXAMPLE, _example("b.json", "B")], "drop")
    assert first == EXAMPLE
    assert (second.left_out, second.reason) == ("repeated", "the same content as track A, a.json")


def test_equal_content_never_stays_twice_by_way_of_a_third_track() -> None:
    # B's content is that of an A that does not stay.
    tracks = [EXAMPLE, _example("a2.json", "A", "2"), _example("b.json", "B", "2")]
    final = decide_repetitions(tracks, "drop")
    assert _kept(final) == ["a.json"]
    assert final[2].reason == "the same as track A, a.json, by a third one's id and content"


@pytest.mark.parametrize("other", [TrackOutcome("b.json", "A"), TrackOutcome("b.json", "A", reason="damaged")])
def test_track_without_a_genre_repeats_nothing(other: TrackOutcome) -> None:
    assert decide_repetitions([EXAMPLE, other], "drop") == [EXAMPLE, other]
    assert decide_repetitions([other, EXAMPLE], "drop") == [other, EXAMPLE]


@pytest.mark.parametrize(("digest", "track_id"), [("1", "A"), ("1", "B"), ("2", "A")])
def test_drop_leaves_out_a_track_in_two_genres(digest: str, track_id: str) -> None:
    final = decide_repetitions(
        [EXAMPLE, _example("b.json", track_id, digest, "Rock"), _example("c.json", "C", "3")], "drop"
    )
    assert _kept(final) == ["c.json"]
    assert final[0].left_out == "several_genres"
    assert final[0].reason == "under several genres: Jazz in a.json, Rock in b.json"
    assert [outcome.genres for outcome in final] == [("Jazz", "Rock"), (), ("Jazz",)]


def test_first_takes_the_first_genre() -> None:
    tracks = [EXAMPLE, _example("b.json", "A", "1", "Rock"), _example("c.json", "B", "1", "Rock")]
    final = decide_repetitions(tracks, "first")
    assert _kept(final) == ["a.json"]
    assert (final[0].genre, final[0].genres) == ("Jazz", ("Jazz", "Rock"))


def test_majority_takes_the_most_frequent_genre() -> None:
    tracks = [EXAMPLE, _example("b.json", "A", "1", "Rock"), _example("c.json", "B", "1", "Rock")]
    final = decide_repetitions(tracks, "majority")
    assert _kept(final) == ["b.json"]
    assert (final[1].genre, final[1].genres) == ("Rock", ("Jazz", "Rock"))
    assert final[0].reason == "track id A again, with the same content as b.json"


def test_track_that_its_labels_left_out_takes_its_equals_along() -> None:
    labels = TrackOutcome("a.json", "A", "under several", "several_genres", genres=("Jazz", "Rock"), digest="1")
    final = decide_repetitions([labels, _example("b.json", "B", "1", "Jazz")], "drop")
    assert _kept(final) == []
    assert final[0].reason == "under several genres: Jazz, Rock"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["Rock"], ("Rock", "Rock", "Rock")),
        (["Rock", "Rock"], ("Rock", "Rock", "Rock")),
        (["Rock", "Jazz"], ("", "Rock", "Rock")),
        (["Rock", "Jazz", "Jazz"], ("", "Rock", "Jazz")),
    ],
)
def test_genre_that_counts(named: list[str], expected: tuple[str, ...]) -> None:
    assert tuple(genre_of(named, setting) for setting in SETTINGS) == expected


def test_whatever_is_kept_has_its_own_id_and_content() -> None:
    tracks = [
        _example(f"{number}", f"id {number * 7 % 11}", f"digest {number * 5 % 13}", "Jazz" if number % 3 else "Rock")
        for number in range(60)
    ]
    for setting in SETTINGS:
        kept = [outcome for outcome in decide_repetitions(tracks, setting) if outcome.split]
        assert len({outcome.track_id for outcome in kept}) == len({outcome.digest for outcome in kept}) == len(kept)
