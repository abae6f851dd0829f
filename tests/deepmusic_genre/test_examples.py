"""Tests of the encoder: its bytes are those of tf.train.Example."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.examples import encode_segments, encode_track
from deepmusic_genre.tracks.track import EAR_FEATURE, ECHO_NEST, N_EAR, SEGMENT_FEATURES, Track
from tests.conftest import ROOT

pytestmark = pytest.mark.fast

TEXTS = ("artist_id", "artist", "title", "genre")


def _track(segments: int = 3, seed: int = 0, **texts: Any) -> Track:
    values = np.random.default_rng(seed).random((segments, 24), np.float32)
    return Track("A", "audio_analysis", 12.5, values, ECHO_NEST, **texts)


def _features(encoded: bytes) -> dict[str, list[Any]]:
    """The values by feature; a feature that is there without a value is left out."""
    features = tf.train.Example.FromString(encoded).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
    return {name: list(getattr(features[name], kind).value) for name, kind in kinds.items() if kind}


def _segments(features: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([features[name] for name in SEGMENT_FEATURES], np.float32).T


def _golden(track: Track) -> bytes:
    """What TensorFlow's own message serializes to."""
    example = tf.train.Example()
    features = example.features.feature
    for name in ("track_id", *TEXTS, "source", "analyser"):
        text = getattr(track, name)
        features[name].MergeFrom(
            tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()])) if text else tf.train.Feature()
        )
    features["duration"].float_list.value.append(track.duration)
    features["num_segments"].int64_list.value.append(len(track.segments))
    for name, values in zip(SEGMENT_FEATURES, track.segments.T, strict=True):
        features[name].float_list.value.extend(values.tolist())
    return bytes(example.SerializeToString(deterministic=True))


@given(
    segments=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.just(24)), elements=st.floats(width=32, allow_nan=False)
    ),
    duration=st.floats(0, 1e6),
    texts=st.fixed_dictionaries({name: st.text(st.characters(exclude_categories=["Cs"])) for name in TEXTS}),
)
def test_the_bytes_are_those_of_tensorflows_own_message(
    segments: np.ndarray[Any, np.dtype[np.float32]], duration: float, texts: dict[str, str]
) -> None:
    known: dict[str, Any] = {**texts}
    track = Track("TR1", "million_song", duration, segments, ECHO_NEST, **known)
    assert encode_track(track) == _golden(track)


@pytest.mark.parametrize("order", ["C", "F"])
def test_each_coefficient_is_a_feature_of_its_own_with_a_value_a_segment(order: Any) -> None:
    track = _track(segments=5)
    rearranged = Track("A", "audio_analysis", 12.5, np.asarray(track.segments, order=order), ECHO_NEST)
    features = _features(encode_track(rearranged))
    np.testing.assert_array_equal(_segments(features), track.segments)
    assert features["timbre_01"] == track.segments[:, 0].tolist()
    assert features["pitch_B"] == track.segments[:, 23].tolist()


def test_texts_and_numbers_are_encoded() -> None:
    features = _features(encode_track(_track(artist_id="1", artist="Sigur Rós", title="Söngur", genre="Rock")))
    scalars = {name: values for name, values in features.items() if name not in SEGMENT_FEATURES}
    assert scalars == {
        "track_id": [b"A"],
        "artist_id": [b"1"],
        "artist": ["Sigur Rós".encode()],
        "title": ["Söngur".encode()],
        "genre": [b"Rock"],
        "source": [b"audio_analysis"],
        "analyser": [b"echo_nest"],
        "duration": [12.5],
        "num_segments": [3],
    }


def test_empty_text_is_a_missing_value() -> None:
    without, with_artist = _features(encode_track(_track())), _features(encode_track(_track(artist="Ann")))
    assert without.keys().isdisjoint(TEXTS)
    assert with_artist["artist"] == [b"Ann"]


def test_audio_features_are_encoded_where_they_are_known() -> None:
    features = _features(encode_track(_track(audio_features={"tempo": 120.5, "key": -1.0})))
    assert (features["tempo"], features["key"]) == ([120.5], [-1.0])
    assert set(tf.train.Example.FromString(encode_track(_track())).features.feature).isdisjoint(AUDIO_FEATURES)


def test_max_segments_keeps_the_first_and_tells_how_many_there_were() -> None:
    long, short = _track(segments=9), _track(segments=2)
    cut, whole = (_features(encode_track(track, max_segments=4)) for track in (long, short))
    np.testing.assert_array_equal(_segments(cut), long.segments[:4])
    np.testing.assert_array_equal(_segments(whole), short.segments)
    assert (cut["num_segments"], whole["num_segments"]) == ([9], [2])


def test_what_was_heard_is_a_feature_where_there_is_sound() -> None:
    ear = np.arange(N_EAR, dtype=np.float32)
    for heard in (encode_track(replace(_track(), ear=ear)), encode_segments(_track().segments, ear)):
        assert _features(heard)[EAR_FEATURE] == ear.tolist()
    assert EAR_FEATURE not in _features(encode_track(_track()))


def test_segments_alone_tell_nothing_of_whose_they_are() -> None:
    features = _features(encode_segments(_track(artist="Ann", title="Song", genre="Rock").segments))
    assert features.keys() == set(SEGMENT_FEATURES)
    np.testing.assert_array_equal(_segments(features), _track().segments)


def test_the_encoder_needs_no_tensorflow() -> None:
    loaded = "[name for name in sys.modules if name.startswith(('tensor', 'tfx'))]"
    code = f"import sys, deepmusic_genre.tracks.examples; print({loaded})"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown == f"[]{os.linesep}"
