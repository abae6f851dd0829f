"""The curated schema against what the pipeline writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.examples import encode_track
from deepmusic_genre.tracks.track import (
    ECHO_NEST,
    MAX_TIMBRE,
    N_EAR,
    PITCH_FEATURES,
    SEGMENT_FEATURES,
    TIMBRE_FEATURES,
    Track,
)
from pipeline.settings import load_settings
from tests.support.spotify_server import audio_features
from tests.support.tracks import analysis, write_analysis

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def schema() -> schema_pb2.Schema:
    return tfdv.load_schema_text(str(load_settings().schema_file))


def test_every_feature_that_is_written_is_in_the_schema(schema: schema_pb2.Schema, tmp_path: Path) -> None:
    import tensorflow as tf

    path = write_analysis(tmp_path / "a.json", {**analysis(), "audio_features": audio_features("a")})
    with path.open("rb") as stream:
        (read,) = AudioAnalysisJson().read(str(path), stream)
    assert isinstance(read, Track)
    heard = replace(read, ear=np.zeros(N_EAR, np.float32))
    assert set(tf.train.Example.FromString(encode_track(heard)).features.feature) == {
        feature.name for feature in schema.feature
    }


def test_the_genre_is_missing_in_serving_only(schema: schema_pb2.Schema) -> None:
    assert set(schema.default_environment) == {"TRAINING", "SERVING"}
    excluded = {feature.name: list(feature.not_in_environment) for feature in schema.feature}
    assert excluded.pop("genre") == ["SERVING"]
    assert not any(excluded.values())


def test_every_coefficient_has_a_domain(schema: schema_pb2.Schema) -> None:
    domains = {feature.name: feature.float_domain for feature in schema.feature}
    for name in SEGMENT_FEATURES:
        assert domains[name].min < domains[name].max
    for name in PITCH_FEATURES:
        assert (domains[name].min, domains[name].max) == (0, 1)


def test_every_audio_feature_is_optional_and_has_the_range_of_what_is_read(schema: schema_pb2.Schema) -> None:
    features = {feature.name: feature for feature in schema.feature}
    for name, values in AUDIO_FEATURES.items():
        assert not features[name].HasField("presence")
        assert (features[name].value_count.min, features[name].value_count.max) == (1, 1)
        domain = features[name].float_domain
        assert (domain.min, domain.max) == (values.least, values.most)


def test_tracks_with_and_without_audio_features_are_no_anomaly(schema: schema_pb2.Schema) -> None:
    means = {name: (values.least + values.most) / 2 for name, values in AUDIO_FEATURES.items()}
    anomalies = [_anomalies(schema, features) for features in ({}, {"tempo": 120.0}, means, {"energy": 1.5})]
    assert anomalies == [[], [], [], ["energy"]]


@pytest.mark.parametrize(
    ("ear", "anomalies"), [(np.ones(N_EAR), []), (np.ones(N_EAR - 1), ["ear"]), (np.full(N_EAR, np.nan), ["ear"])]
)
def test_what_is_heard_is_optional_but_whole(
    schema: schema_pb2.Schema, ear: npt.NDArray[Any], anomalies: list[str]
) -> None:
    assert _anomalies(schema, {}, ear.astype(np.float32)) == anomalies


def _anomalies(
    schema: schema_pb2.Schema, features: dict[str, float], ear: npt.NDArray[np.float32] | None = None
) -> list[str]:
    segments = np.full((3, 24), 0.5, np.float32)
    texts: dict[str, Any] = {"artist": "Ann", "artist_id": "1", "title": "Song", "genre": "Jazz"}
    track = Track("A", "audio_analysis", 12.5, segments, ECHO_NEST, **texts, audio_features=features, ear=ear)
    records = ExamplesToRecordBatchDecoder(schema.SerializeToString()).DecodeBatch([encode_track(track)])
    statistics = generate_statistics_in_memory(records, tfdv.StatsOptions(schema=schema))
    return list(tfdv.validate_statistics(statistics, schema).anomaly_info)


def test_no_domain_is_wider_than_what_is_read(schema: schema_pb2.Schema) -> None:
    domains = {feature.name: feature.float_domain for feature in schema.feature}
    limits = [max(-domains[name].min, domains[name].max) for name in TIMBRE_FEATURES]
    assert max(limits) == MAX_TIMBRE
