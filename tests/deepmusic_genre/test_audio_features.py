"""Tests of Spotify's audio features: where they are read, and what is taken for unknown."""

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.million_song import MillionSongH5
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Track
from tests.support.spotify_server import audio_features
from tests.support.tracks import analysis, write_h5

pytestmark = pytest.mark.fast

FEATURES = {name: value for name, value in audio_features("a").items() if name in AUDIO_FEATURES}
OWN = ("key", "loudness", "mode", "tempo", "time_signature")


def _bare() -> dict[str, Any]:
    """An analysis that says nothing itself."""
    return {"segments": analysis()["segments"]}


def _read(value: Any) -> dict[str, float]:
    (track,) = read("folder/file.json", io.BytesIO(json.dumps(value).encode()))
    assert isinstance(track, Track), track
    return dict(track.audio_features)


@pytest.mark.parametrize(
    "value",
    [
        {**_bare(), "audio_features": FEATURES},
        {**_bare(), "audio_features": [FEATURES]},
        {**_bare(), **FEATURES},
        {"id": "A", **FEATURES, "analysis": _bare()},
        {"id": "A", "audio_features": audio_features("a"), "audio_analysis": _bare()},
        {"id": "A", "audio_features": [audio_features("a")], "audio_analysis": _bare()},
        {"id": "A", "audio_features": json.dumps(FEATURES), "data": {"analysis": _bare()}},
        {"track": {"id": "A", **FEATURES}, "analysis": _bare()},
        {"A1": {"audio_features": FEATURES, "analysis": _bare()}},
        {**_bare(), "audio_features": {name: [value] for name, value in FEATURES.items()}},
        {"analysis": _bare(), **{name: {"$numberDouble": str(value)} for name, value in FEATURES.items()}},
        {
            "segments": {"0": _bare()["segments"]},
            "track_id": {"0": "A"},
            **{name: {"0": value} for name, value in FEATURES.items()},
        },
    ],
)
def test_audio_features_are_read_beside_the_analysis_and_among_its_facts(value: Any) -> None:
    assert _read(value) == pytest.approx(FEATURES)


def test_an_analysis_has_five_of_them_itself() -> None:
    own = {name: FEATURES[name] for name in OWN}
    value = {**_bare(), "track": {"duration": 3.0, **own, "tempo_confidence": 0.5}}
    assert _read(value) == own
    assert _read({**value, "audio_features": {**FEATURES, "tempo": 99.0}}) == {**FEATURES, "tempo": 99.0}
    wrapped = {"audio_features": {name: of for name, of in FEATURES.items() if name != "tempo"}, "analysis": value}
    assert _read(wrapped) == FEATURES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("danceability", -0.1),
        ("danceability", 1.1),
        ("energy", "0.5"),
        ("energy", None),
        ("energy", True),
        ("energy", {}),
        ("energy", {"$numberDouble": "high"}),
        ("energy", {"$numberDouble": "NaN"}),
        ("key", 12),
        ("key", -2),
        ("key", 0.5),
        ("mode", 0.5),
        ("loudness", 1e300),
        ("tempo", 0),
        ("tempo", 10**30),
        ("time_signature", 0),
    ],
)
def test_what_is_no_such_value_is_unknown_and_rejects_no_track(name: str, value: Any) -> None:
    others = {other: of for other, of in FEATURES.items() if other != name}
    for place in (
        {**_bare(), "audio_features": {**FEATURES, name: value}},
        {**_bare(), **FEATURES, name: value},
        {"audio_features": {**FEATURES, name: value}, "analysis": _bare()},
        {"analysis": _bare(), **FEATURES, name: value},
        {**_bare(), "track": {name: value}, "audio_features": others},
    ):
        assert _read(place) == others


@pytest.mark.parametrize("value", [None, "none", 3, [], [FEATURES, FEATURES], {"$numberInt": "x"}])
def test_audio_features_of_another_form_reject_no_track(value: Any) -> None:
    assert _read({**_bare(), "audio_features": value}) == {}
    assert _read({"analysis": _bare(), "audio_features": value}) == {}


def test_a_key_and_a_mode_alone_are_no_audio_features() -> None:
    assert _read({**_bare(), "key": 3, "mode": 1}) == {}
    assert _read({"rows": [{"key": 3, "value": _bare()}]}) == {}
    assert _read({**_bare(), "audio_features": {"key": 3, "mode": 1}}) == {"key": 3, "mode": 1}


def test_every_range_holds_the_key_that_was_not_found() -> None:
    assert _read({**_bare(), "audio_features": {"key": -1}}) == {"key": -1}


def test_a_million_song_has_five_of_them_and_zeros_are_none(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "file.h5", ["A", "B"])
    assert [_features(item) for item in _h5(path)] == [{}, {}]
    with h5py.File(path, "r+") as file:
        songs = file["analysis/songs"][:]
        columns = [("danceability", "f8"), ("energy", "f8"), ("key", "i4"), ("loudness", "f8"), ("mode", "i4")]
        columns += [("tempo", "f8"), ("time_signature", "i4")]
        wider = np.zeros(len(songs), [*((name, songs.dtype[name]) for name in songs.dtype.names), *columns])
        for name in songs.dtype.names:
            wider[name] = songs[name]
        for name in OWN:
            wider[name][0] = FEATURES[name]
        del file["analysis/songs"]
        file["analysis/songs"] = wider
    first, second = _h5(path)
    assert _features(first) == pytest.approx({name: FEATURES[name] for name in OWN})
    assert _features(second) == {"key": 0, "loudness": 0, "mode": 0}


def _h5(path: Path) -> list[Track]:
    with path.open("rb") as stream:
        return [item for item in MillionSongH5().read(str(path), stream) if isinstance(item, Track)]


def _features(track: Track) -> dict[str, float]:
    return dict(track.audio_features)
