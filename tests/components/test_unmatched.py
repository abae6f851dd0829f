"""Tests of labels onto the tracks of a whole catalogue: a row labels the one track that it means, or none."""

import pytest

from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.report import summarize
from components.track_example_gen.unmatched import UnmatchedLabel, require_labels_fit, settle_labels
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.labels import read_labels

pytestmark = pytest.mark.fast


def _track(path: str, track_id: str = "", digest: str = "") -> TrackOutcome:
    """An example of the file at ``path``, whose content is unlike any other's unless ``digest`` says so."""
    return TrackOutcome(path, track_id or f"id of {path}", genre="Rock", genres=("Rock",), digest=digest or path)


def _settled(rows: str, *outcomes: TrackOutcome) -> tuple[list[str], list[UnmatchedLabel]]:
    """The paths of the tracks that have a genre in the end, and the rows that label none."""
    labels = read_labels(f"file,genre,artist\n{rows}\n".encode(), "labels.csv")
    read = [
        outcome if any(labels.fits(outcome.track_id, outcome.path)) else TrackOutcome(outcome.path, outcome.track_id)
        for outcome in outcomes
    ]
    settled, unmatched = settle_labels(read, labels, "labels.csv", ["/data"])
    return [outcome.path for outcome in settled if outcome.genre], unmatched


def test_row_that_fits_several_tracks_labels_none_and_is_listed() -> None:
    tracks = [_track(f"/data/{album}/01 Track.mp3") for album in ("Album A", "Album B")]
    assert _settled("01 Track.mp3,Rock", *tracks) == (
        [],
        [
            UnmatchedLabel(
                "labels.csv",
                2,
                "01 Track.mp3",
                "Rock",
                "it fits 2 tracks: /data/Album A/01 Track.mp3, /data/Album B/01 Track.mp3",
                2,
            )
        ],
    )


def test_row_with_the_folder_labels_the_track_of_that_folder_alone() -> None:
    tracks = [_track(f"/data/{album}/01 Track.mp3") for album in ("Album A", "Album B")]
    assert _settled("Album B/01 Track.mp3,Rock", *tracks) == (["/data/Album B/01 Track.mp3"], [])


def test_row_that_fits_several_tracks_is_not_given_what_other_rows_leave() -> None:
    tracks = [_track(f"/data/{album}/01 Track.mp3") for album in ("Album A", "Album B")]
    labelled, unmatched = _settled("Album B/01 Track.mp3,Jazz\n01 Track.mp3,Rock", *tracks)
    assert labelled == ["/data/Album B/01 Track.mp3"]
    assert [(row.line, row.fits) for row in unmatched] == [(3, 2)]


def test_row_that_contradicts_a_better_one_labels_none() -> None:
    labelled, unmatched = _settled("Album B/a.mp3,Jazz\na.mp3,Rock", _track("/data/Album B/a.mp3"))
    assert labelled == ["/data/Album B/a.mp3"]
    assert [(row.line, "says otherwise" in row.reason) for row in unmatched] == [(3, True)]


def test_path_below_the_data_folder_means_that_file() -> None:
    assert _settled("a.mp3,Rock", _track("/data/a.mp3"), _track("/data/live/a.mp3")) == (["/data/a.mp3"], [])


def test_file_that_is_named_goes_before_one_with_another_ending() -> None:
    assert _settled("a.mp3,Rock", _track("/data/a.mp3"), _track("/data/a.wav")) == (["/data/a.mp3"], [])


def test_longest_end_of_another_machines_path_decides() -> None:
    tracks = [_track("/data/Rock/a.mp3"), _track("/data/live/a.mp3"), _track("/data/Jazz/b.mp3")]
    rows = "/home/ann/music/Rock/a.wav,Rock\n/home/ann/music/Jazz/b.wav,Jazz"
    assert _settled(rows, *tracks) == (["/data/Rock/a.mp3", "/data/Jazz/b.mp3"], [])


def test_copies_of_one_recording_are_one_track() -> None:
    tracks = [_track(f"/data/{folder}/a.mp3", digest="same") for folder in "xy"]
    assert _settled("a.mp3,Rock", *tracks) == (["/data/x/a.mp3", "/data/y/a.mp3"], [])


def test_id_without_its_zeros_means_a_track_only_if_there_is_one() -> None:
    assert _settled("0007,Rock", _track("/data/x.json", "7"))[0] == ["/data/x.json"]
    labelled, unmatched = _settled("0007,Rock", _track("/data/x.json", "7"), _track("/data/y.json", "07"))
    assert (labelled, [row.fits for row in unmatched]) == ([], [2])
    assert _settled("0007,Rock", _track("/data/x.json", "7"), _track("/data/y.json", "0007"))[0] == ["/data/y.json"]


def test_rows_of_one_track_that_contradict_one_another_label_none() -> None:
    labelled, unmatched = _settled("a.wav,Rock\na.mp3,Jazz", _track("/data/a.flac"))
    assert labelled == []
    assert [(row.line, "says otherwise" in row.reason) for row in unmatched] == [(2, True), (3, True)]


def test_rows_of_one_track_that_agree_label_it() -> None:
    assert _settled("a.wav,Rock\na.mp3,Rock", _track("/data/a.flac")) == (["/data/a.flac"], [])


def test_rows_without_a_track_are_listed_with_their_lines_and_counted() -> None:
    track = _track("/data/a.mp3")
    _, unmatched = _settled("a.mp3,Rock\nb.mp3,Jazz\nc.mp3,Jazz\nb.mp3,Rock", track)
    assert [(row.line, row.track, row.genre, row.fits) for row in unmatched] == [
        (3, "b.mp3", "Jazz", 0),
        (4, "c.mp3", "Jazz", 0),
        (5, "b.mp3", "Jazz", 0),
    ]
    summary = summarize([track], 1, [0], unmatched)
    assert "label no track: 3 fit none;" in summary.lines()[-1]


def test_row_of_a_file_that_was_rejected_is_no_row_without_a_track() -> None:
    assert _settled("a.mp3,Rock", TrackOutcome("/data/a.mp3", reason="damaged")) == ([], [])


def test_track_whose_row_is_in_doubt_keeps_the_reason_for_its_rejection() -> None:
    labels = read_labels(b"file,genre\na.mp3,Rock\n", "labels.csv")
    outcomes = [_track("/data/x/a.mp3"), TrackOutcome("/data/y/a.mp3", reason="damaged")]
    settled, _ = settle_labels(outcomes, labels, "labels.csv", ["/data"])
    assert [outcome.reason for outcome in settled] == ["", "damaged"]


def test_labels_that_fit_nothing_are_refused_showing_both_sides() -> None:
    outcomes = [TrackOutcome("/data/a.json", "A")]
    labels = read_labels(b"track_id,genre\nX9,Rock\n", "labels.csv")
    settled, unmatched = settle_labels(outcomes, labels, "labels.csv", ["/data"])
    with pytest.raises(PipelineInputError) as caught:
        require_labels_fit(settled, unmatched)
    assert "None of the 1 tracks has a genre" in str(caught.value)
    assert all(part in str(caught.value) for part in ("line 2 names 'X9'", "the id 'A'", "'/data/a.json'"))
