"""Tests of the forms in which catalogues hold audio analyses that are not as Spotify served them."""

import io
import json
from typing import Any

import numpy as np
import pytest

from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, durations_of, segments_of

pytestmark = pytest.mark.fast


def _items(value: Any, name: str = "folder/file.json") -> list[Track | Rejection]:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return list(read(name, io.BytesIO(content)))


def _tracks(value: Any, name: str = "folder/file.json") -> list[Track]:
    items = _items(value, name)
    assert all(isinstance(item, Track) for item in items), items
    return [item for item in items if isinstance(item, Track)]


def _track(value: Any, name: str = "folder/file.json") -> Track:
    (track,) = _tracks(value, name)
    return track


def _reason(value: Any) -> str:
    (item,) = _items(value)
    assert isinstance(item, Rejection), item
    return item.reason


def _timed(segments: int = 6, seed: int = 0) -> dict[str, Any]:
    """An analysis whose segments start at 0, 0.25, 0.5, ... seconds; the track ends 0.1 s after the last start."""
    value = analysis(segments=segments, seed=seed)
    for index, segment in enumerate(value["segments"]):
        segment.update(start=index / 4, duration=0.25)
    value["track"] = {"duration": (segments - 1) / 4 + 0.1}
    return value


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    segments = [{name: of for name, of in segment.items() if name not in names} for segment in value["segments"]]
    return {**value, "segments": segments}


# Segments


def test_segments_are_put_in_order_of_their_starts() -> None:
    value = _timed()
    value["segments"][2]["duration"] = 0.125
    shuffled = {**value, "segments": [value["segments"][index] for index in (3, 0, 5, 1, 4, 2)]}
    track = _track(shuffled)
    np.testing.assert_array_equal(track.segments, segments_of(value))
    assert durations_of(track) == [0.25, 0.25, 0.125, 0.25, 0.25, 0.25]


def test_padding_is_left_at_the_end_whatever_its_start() -> None:
    value = _timed()
    padding = {"start": 0.0, "duration": 0.0, "timbre": [0.0] * 12, "pitches": [0.0] * 12}
    track = _track({**value, "segments": [*value["segments"], padding, padding]})
    np.testing.assert_array_equal(track.segments, segments_of(value))


def test_durations_are_the_differences_of_the_starts_up_to_the_tracks_end() -> None:
    track = _track(_without(_timed(), "duration"))
    assert durations_of(track) == pytest.approx([0.25] * 5 + [0.1])
    assert track.duration == pytest.approx(1.35)


def test_last_duration_is_the_median_where_the_tracks_end_is_not_known() -> None:
    value = _without(_timed(), "duration")
    del value["track"]
    value["segments"][1]["start"] = 0.1
    track = _track(value)
    assert durations_of(track) == pytest.approx([0.1, 0.4, 0.25, 0.25, 0.25, 0.25])
    assert track.duration == pytest.approx(1.5)


def test_vectors_alone_are_a_track_of_unknown_durations() -> None:
    value = {"track_id": "A", "segments": _without(_timed(), "start", "duration")["segments"]}
    track = _track(value)
    np.testing.assert_array_equal(track.segments, segments_of(value))
    assert (track.track_id, track.durations, track.duration) == ("A", None, 0.0)


def test_duration_of_the_track_is_kept_where_those_of_its_segments_are_unknown() -> None:
    track = _track(_without(_timed(), "start", "duration"))
    assert (track.durations, track.duration) == (None, pytest.approx(1.35))


def test_analysis_that_says_that_it_failed_is_rejected_with_its_reason() -> None:
    assert _track({**_timed(), "meta": {"status_code": 0, "detailed_status": "OK"}}).num_segments == 6
    reason = _reason({**_timed(), "meta": {"status_code": 3, "detailed_status": "failed"}})
    assert reason == "the analysis says of itself that it failed: meta.status_code is 3 (failed)"
