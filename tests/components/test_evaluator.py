"""What TFMA says against what the exported models answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.types import standard_artifacts

from components.evaluator.answers import write_answers
from components.evaluator.metrics import ACCURACY, MACRO_F1
from components.evaluator.slices import SLICES
from components.scoring.predictions import TRACK_COLUMNS, Predictions, load_predictions
from components.scoring.scores import accuracy, confusion_matrix, genre_scores, macro_f1
from tests.conftest import FinishedRun

Slices = dict[Any, dict[str, Any]]
MODELS = ("c1m1", "tangent")


@pytest.fixture(scope="module")
def slices(finished_run: FinishedRun) -> Slices:
    result = tfma.load_eval_result(str(finished_run.artifact("Evaluator", "evaluation")))
    return {tuple(sorted(key)): by_output[""] for key, by_output in result.slicing_metrics}


def _predictions(finished_run: FinishedRun, model: str) -> Predictions:
    return load_predictions(str(finished_run.artifact("Predictor", "predictions") / f"{model}.parquet"))


@pytest.mark.parametrize("model", MODELS)
def test_tfma_scores_what_the_exported_model_answers(slices: Slices, finished_run: FinishedRun, model: str) -> None:
    predictions = _predictions(finished_run, model)
    overall = slices[(("model", model),)]
    assert overall[""][ACCURACY]["doubleValue"] == pytest.approx(float(accuracy(predictions.confusion)))
    assert overall[""][MACRO_F1]["doubleValue"] == pytest.approx(float(macro_f1(predictions.confusion)))
    for name, expected in genre_scores(predictions.confusion).items():
        found = [float(overall[f"classId:{genre}"][name]["doubleValue"]) for genre in range(len(predictions.genres))]
        np.testing.assert_allclose(found, expected, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_tfma_slices_by_genre_source_and_length(slices: Slices, finished_run: FinishedRun, model: str) -> None:
    predictions = _predictions(finished_run, model)
    features = {feature for key in slices for feature, _ in key}
    assert features == {"model", "slice_genre", "slice_source", "slice_length"}
    segments = np.array(predictions.tracks["num_segments"])
    rows = (segments < 300).nonzero()[0]
    short = slices[(("model", model), ("slice_length", "0 to 299 segments"))][""]
    assert short["example_count"]["doubleValue"] == len(rows)
    part = confusion_matrix(predictions.actual[rows], predictions.predicted[rows], len(predictions.genres))
    assert short[ACCURACY]["doubleValue"] == pytest.approx(float(accuracy(part)))


def test_predictions_keep_the_audio_features_that_are_known(finished_run: FinishedRun) -> None:
    tracks = _predictions(finished_run, "tangent").tracks
    assert (set(tracks["tempo"].to_pylist()), set(tracks["energy"].to_pylist())) == ({120.0}, {None})


@pytest.mark.parametrize("name", SLICES)
def test_every_slice_is_a_text_of_what_is_known_of_a_track(name: str) -> None:
    texts = {fact: "" for fact, of_type in TRACK_COLUMNS.items() if of_type == pa.string()}
    assert isinstance(SLICES[name]({**texts, "duration": 1.0, "num_segments": 1}), str)


def test_lengths_have_names() -> None:
    names = [SLICES["length"]({"num_segments": number})[:5] for number in (1, 299, 300, 599, 899, 900, 5000)]
    assert names == ["0 to ", "0 to ", "300 t", "300 t", "600 t", "900 s", "900 s"]


def test_tempos_have_names() -> None:
    names = [SLICES["tempo"]({"tempo": tempo}) for tempo in (None, 1.0, 99.9, 100.0, 129.9, 130.0, 300.0)]
    assert names == ["unknown", *["below 100 BPM"] * 2, *["100 to below 130 BPM"] * 2, *["130 BPM and more"] * 2]


def test_answers_have_the_slices_that_are_asked_for(tmp_path: Path) -> None:
    facts = {"track_id": "A", "artist": "Band", "genre": "Jazz", "num_segments": 400}
    tracks = pa.Table.from_pylist([facts], pa.schema(list(TRACK_COLUMNS.items())))
    answers = Predictions(("Blues", "Jazz"), tracks, np.array([[0.25, 0.75]], np.float32))
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path)
    write_answers(artifact, {"mine": answers}, ["artist"])
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "Split-test" / "answers.gz"), "GZIP").as_numpy_iterator()
    features = tf.train.Example.FromString(record).features.feature
    assert sorted(features) == ["genre_index", "model", "probabilities", "slice_artist"]
    assert features["slice_artist"].bytes_list.value == [b"Band"]
    assert features["genre_index"].int64_list.value == [1]
    assert list(features["probabilities"].float_list.value) == [0.25, 0.75]
