"""Tests of what an ingestion says of itself, and of what it refuses to go on with."""

import msgspec
import pytest

from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.report import (
    GenresOfTrack,
    IngestSummary,
    contradictions,
    notes,
    other_genres_rejected,
    rejections,
    require_one_analyser,
    require_usable,
    several_genres,
    summarize,
)
from components.track_example_gen.splits import SPLITS, SplitBy
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import Rejection

pytestmark = pytest.mark.fast

EXAMPLE = TrackOutcome("a.json", "A", split="train", index=0, genre="Jazz", genres=("Jazz",), analyser="echo_nest")


def _summary(
    train: int = 8, validation: int = 1, test: int = 1, unlabelled: int = 0, rejected: int = 0
) -> IngestSummary:
    counts = zip(SPLITS, (train, validation, test), strict=True)
    examples = {
        split: {genre: tracks for genre, tracks in (("Jazz", count - count // 2), ("Blues", count // 2)) if tracks}
        for split, count in counts
    }
    read = train + validation + test + unlabelled + rejected
    artists = dict.fromkeys(SPLITS, 1)
    return IngestSummary(
        examples, artists, unlabelled, rejected, 0, 0, read, {"echo_nest": train + validation + test}, read, [0]
    )


def _refusal(summary: IngestSummary, share: float = 0.05, split_by: SplitBy = "artist") -> str:
    rejected = [Rejection(f"{number}.json", f"reason {number}") for number in range(summary.rejected)]
    with pytest.raises(PipelineInputError) as caught:
        require_usable(summary, rejected, share, split_by)
    return str(caught.value)


def test_summary_counts_what_became_of_each_track() -> None:
    outcomes = [
        TrackOutcome("1", "1", split="train", index=0, genre="Jazz", artist="Ann", analyser="echo_nest"),
        TrackOutcome("2", "2", split="train", index=1, genre="Jazz", artist="Ann", analyser="echo_nest"),
        TrackOutcome("3", "3", split="train", index=2, genre="Blues", analyser="echo_nest"),
        TrackOutcome("4", "4", split="test", index=0, genre="Rock", artist="Bob", analyser="echo_nest"),
        TrackOutcome("5", "5"),
        TrackOutcome("6", "6", "damaged"),
        TrackOutcome("7", "", "damaged"),
    ]
    summary = summarize(outcomes, 3, [0])
    assert summary.examples == {"train": {"Blues": 1, "Jazz": 2}, "validation": {}, "test": {"Rock": 1}}
    assert summary.artists == {"train": 1, "validation": 0, "test": 1}
    assert summary.tracks == {"train": 3, "validation": 0, "test": 1}
    assert (summary.unlabelled, summary.rejected) == (1, 2)
    assert str(summary) == "4 tracks: 3 train, 0 validation, 1 test; 1 unlabelled, 2 rejected; analyser echo_nest"


def test_rejections_are_those_with_a_reason_and_faults_come_first() -> None:
    outcomes = [
        EXAMPLE,
        TrackOutcome("a", "A", "again", "repeated"),
        TrackOutcome("b", "B", "damaged"),
        TrackOutcome("c", "C"),
    ]
    assert rejections(outcomes) == [Rejection("b", "damaged", "B"), Rejection("a", "again", "A")]


@pytest.mark.parametrize(("rejected", "share"), [(0, 0.0), (10, 0.5), (90, 0.9)])
def test_share_of_rejections_up_to_the_limit_is_usable(rejected: int, share: float) -> None:
    require_usable(_summary(rejected=rejected), [], share, "artist")


def test_share_of_exactly_the_limit_is_usable() -> None:
    # 0.29 * 100 is 28.999999999999996.
    require_usable(_summary(train=69, rejected=29), [], 0.29, "artist")


def test_too_many_rejections_are_refused_naming_the_first_and_the_setting() -> None:
    message = _refusal(_summary(rejected=7))
    assert message.startswith("7 of 17 tracks were rejected, more than data.max_rejected_share = 5% allows:")
    assert [f"{number}.json: reason {number}" in message for number in range(7)] == [True] * 5 + [False] * 2
    assert "and 2 more" in message


def test_few_rejections_are_all_named() -> None:
    message = _refusal(_summary(rejected=3))
    assert message.count(".json: reason") == 3
    assert "more, all in the log" not in message


def test_small_limit_is_named_as_it_was_set() -> None:
    message = _refusal(_summary(rejected=3), share=0.005)
    assert "0.005" in message or "0.5%" in message


def test_unlabelled_tracks_do_not_count_as_rejected() -> None:
    require_usable(_summary(unlabelled=1000), [], 0.0, "artist")


def test_no_labelled_track_is_refused_naming_labels_and_folders() -> None:
    message = _refusal(_summary(0, 0, 0, unlabelled=12))
    assert "None of the 12 tracks has a genre" in message
    assert "labels file" in message
    assert "folder" in message


def test_rejection_of_every_track_is_not_taken_for_missing_labels() -> None:
    message = _refusal(_summary(0, 0, 0, rejected=12), share=1.0)
    assert "rejected" in message
    assert "0.json: reason 0" in message


def test_empty_split_by_artist_is_refused_with_both_remedies() -> None:
    message = _refusal(_summary(validation=0, test=0))
    assert "No track falls into the split validation and test: 8 tracks" in message
    assert "Bring more, or set data.split_by to track." in message


def test_one_genre_only_is_refused_before_anything_is_trained() -> None:
    summary = IngestSummary(
        {"train": {"Jazz": 30}, "validation": {"Jazz": 4}, "test": {"Blues": 2}}, {}, 0, 0, 0, 0, 36, {}, 36, [0]
    )
    assert _refusal(summary) == (
        "All 30 training tracks are Jazz: there is nothing to tell apart. Bring tracks of other genres."
    )


def test_empty_split_by_track_is_refused_without_the_remedy_taken() -> None:
    message = _refusal(_summary(test=0), split_by="track")
    assert "the split test: 9 tracks" in message
    assert "data.split_by" not in message


def test_genres_that_a_split_lacks_are_told() -> None:
    summary = IngestSummary(
        {"train": {"Jazz": 3, "Rock": 1}, "validation": {}, "test": {"Rock": 1}}, {}, 0, 0, 0, 0, 5, {}, 5, [0]
    )
    assert summary.gaps(["Jazz", "Rock", "Polka"]) == [
        "no track of Polka in train: no model can learn it",
        "no track of Jazz, Rock, Polka in validation: it has no say in which model is selected and when training ends",
        "no track of Jazz, Polka in test: no score says how well it is recognised",
        "a genre needs at least three artists to be in every split",
    ]


def test_nothing_is_told_of_splits_that_have_every_genre() -> None:
    assert _summary(8, 2, 2).gaps(["Jazz", "Blues"]) == []


@pytest.mark.parametrize(
    ("unknown", "told"),
    [
        (0, ""),
        (
            4,
            "4 of 10 tracks lack the artist: each of them is split by itself, and scores are also of tracks of",
        ),
        (10, "no track names an artist: each of them is split by itself, and scores are also of tracks of"),
    ],
)
def test_unknown_artists_are_told_with_what_follows(unknown: int, told: str) -> None:
    summary = msgspec.structs.replace(_summary(), without_artist=unknown)
    lines = [line for line in summary.lines() if "split by itself" in line]
    assert lines == ([f"{told} artists that a model may have learned from"] if told else [])


OUTSIDE = TrackOutcome("p", "P", "genre 'Polka' is not in the genre list", "other_genre", genre="Polka")


def test_other_genres_are_counted_apart_and_named() -> None:
    summary = summarize([EXAMPLE, OUTSIDE, OUTSIDE], 3, [0])
    assert (summary.rejected, summary.unlabelled, summary.other_genres) == (0, 0, {"Polka": 2})
    assert "0 rejected, 2 of other genres" in str(summary)
    assert "left out, for their genre is not in the genre list: Polka (2); see data.other_genres" in summary.lines()


def test_other_genres_may_be_rejected() -> None:
    summary = summarize([EXAMPLE, *other_genres_rejected([OUTSIDE, EXAMPLE])], 3, [0])
    assert (summary.rejected, summary.other_genres) == (1, {})


def test_tracks_of_other_genres_alone_are_refused() -> None:
    with pytest.raises(PipelineInputError, match=r"No track has a genre of the genre list: 2 are of others, .* Polka"):
        require_usable(summarize([OUTSIDE, OUTSIDE], 2, [0]), [], 0.0, "artist")


def test_repetitions_and_several_genres_are_counted_apart_from_rejections() -> None:
    outcomes = [
        msgspec.structs.replace(EXAMPLE, genres=("Jazz", "Rock")),
        TrackOutcome("b", "A", "again", "repeated"),
        TrackOutcome("c", "C", "under several genres", "several_genres", genres=("Jazz", "Rock")),
    ]
    summary = summarize(outcomes, 3, [0])
    assert (summary.read, summary.rejected, summary.repeated, summary.several_genres) == (3, 0, 1, 2)
    assert "0 unlabelled, 0 rejected, 1 repeated; 2 under several genres" in str(summary)
    assert several_genres(outcomes) == [
        GenresOfTrack("a.json", "A", ("Jazz", "Rock"), "Jazz"),
        GenresOfTrack("c", "C", ("Jazz", "Rock"), ""),
    ]


def test_what_is_amiss_with_sound_that_is_used_is_counted_by_kind() -> None:
    outcomes = [
        msgspec.structs.replace(EXAMPLE, notes=("ends early: 1.0 s of 2.0 s are there", "channels cancel: mixed")),
        msgspec.structs.replace(EXAMPLE, path="b.wav", notes=("ends early: 3.0 s of 9.0 s are there",)),
        TrackOutcome("c.wav", "C", notes=("ends early: it has no genre",)),
    ]
    summary = summarize(outcomes, 3, [0])
    assert summary.noted == {"ends early": 2, "channels cancel": 1}
    assert "sound files used although something is amiss: ends early (2), channels cancel (1)" in summary.lines()
    assert [(item.path, item.note) for item in notes(outcomes)][2:] == [
        ("b.wav", "ends early: 3.0 s of 9.0 s are there")
    ]
    assert not any("amiss" in line for line in _summary().lines())


def test_only_tracks_under_several_genres_are_refused_naming_the_setting() -> None:
    summary = msgspec.structs.replace(_summary(0, 0, 0), read=3, several_genres=3)
    assert "3 of them, is under several, and data.several_genres = drop leaves those out" in _refusal(summary)


def test_different_analysers_are_refused_with_counts_and_the_setting() -> None:
    require_one_analyser(_summary())
    mixed = msgspec.structs.replace(_summary(), analysers={"deepmusic-1": 3, "echo_nest": 7})
    assert str(mixed).endswith("analysers deepmusic-1 (3), echo_nest (7)")
    with pytest.raises(PipelineInputError, match=r"3 by deepmusic-1, 7 by echo_nest.*data\.mix_analysers"):
        require_one_analyser(mixed)


@pytest.mark.parametrize(
    ("new", "spans", "line"),
    [
        (10, [0], []),
        (10, [3, 5], ["2 spans, the newest 5"]),
        (2, [0], ["2 new, 8 taken over from earlier runs"]),
        (0, [4], ["1 spans, the newest 4; 0 new, 10 taken over from earlier runs"]),
    ],
    ids=["all new", "spans", "taken over", "both"],
)
def test_spans_and_what_was_taken_over_are_told(new: int, spans: list[int], line: list[str]) -> None:
    assert msgspec.structs.replace(_summary(), new=new, spans=spans).lines()[1:] == line


def test_contradictions_between_genres_are_counted_by_kind_and_listed() -> None:
    outcomes = [
        msgspec.structs.replace(EXAMPLE, contradictions=("file and folder: Jazz; Pop",)),
        msgspec.structs.replace(EXAMPLE, contradictions=("file and folder: Jazz; Rock", "labels file and file: a; b")),
        TrackOutcome("c", "C", contradictions=("file and folder: left out",)),
    ]
    summary = summarize(outcomes, 3, [0])
    assert summary.contradictions == {"file and folder": 2, "labels file and file": 1}
    assert (
        "genres that contradict each other, of which the former counts: file and folder (2), labels file and file (1);"
        " listed in contradictions.jsonl"
    ) in summary.lines()
    assert contradictions(outcomes)[0].note == "file and folder: Jazz; Pop"
