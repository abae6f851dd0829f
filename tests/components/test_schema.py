"""The curated schema against what the pipeline writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.examples import encode_track
from deepmusic_genre.tracks.track import MAX_TIMBRE, N_EAR, PITCH_FEATURES, SEGMENT_FEATURES, TIMBRE_FEATURES, Track
from pipeline.settings import load_settings
from tests.support.tracks import analysis, write_analysis

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def schema() -> schema_pb2.Schema:
    return tfdv.load_schema_text(str(load_settings().schema_file))


def test_every_feature_that_is_written_is_in_the_schema(schema: schema_pb2.Schema, tmp_path: Path) -> None:
    import tensorflow as tf

    path = write_analysis(tmp_path / "a.json", analysis())
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


def test_no_domain_is_wider_than_what_is_read(schema: schema_pb2.Schema) -> None:
    domains = {feature.name: feature.float_domain for feature in schema.feature}
    limits = [max(-domains[name].min, domains[name].max) for name in TIMBRE_FEATURES]
    assert max(limits) == MAX_TIMBRE
