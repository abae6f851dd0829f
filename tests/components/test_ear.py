"""The model that listens: trained, exported, judged and passed over, on made-up ears."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.types import Artifact, standard_artifacts

from components.artifacts import ModelSelection, TestPredictions
from components.model_check import executor as model_check
from components.model_selector import executor as model_selector
from components.model_selector.selection import load_selection
from components.predictor import executor as predictor
from components.scoring.predictions import load_predictions
from components.scoring.saved_model import request, run_signature, serving_session
from components.scoring.tracks import first_unheard
from components.trainer.description import has_description, read_description
from components.trainer.ear import fit_ear
from components.trainer.fitting import Task
from components.trainer.input_pipeline import raw_examples
from components.trainer.run import predict, run_fn
from components.trainer.tangent import TRACK_STATISTICS
from components.trainer.warmup import FILE
from components.transform.statistics import track_statistics
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR
from pipeline.settings import load_settings
from tests.conftest import FinishedRun

SETTINGS = load_settings()
GENRES = list(SETTINGS.genres)
CHOSEN = SETTINGS.models.ear
SPLITS = ("train", "validation", "test")

Floats = npt.NDArray[np.float32]


def _ear(genre: int, seed: int) -> Floats:
    """What sounds of a genre have in common, and what they have not."""
    common = np.random.default_rng(genre).standard_normal(N_EAR)
    return (common + 1.5 * np.random.default_rng([7, seed]).standard_normal(N_EAR)).astype(np.float32)


def _ears(count: int, seed: int = 0) -> tf.data.Dataset:
    labels = np.arange(count) % 3
    ears = np.stack([_ear(label, seed + place) for place, label in enumerate(labels)])
    ears[:, 5] = 0  # No training track has it.
    rng = np.random.default_rng(seed)
    timbre, pitches = rng.standard_normal((count, 40, 12)), rng.random((count, 40, 12))
    lengths = tf.fill([count], tf.constant(40, tf.int64))
    statistics = track_statistics(timbre.astype(np.float32), pitches.astype(np.float32), lengths)
    features = {EAR_FEATURE: ears, TRACK_STATISTICS: statistics}
    return tf.data.Dataset.from_tensor_slices((features, labels.astype(np.int64)))


def test_genres_that_sound_different_are_told_apart() -> None:
    train, others = _ears(60), _ears(30, seed=100)
    fit = fit_ear(Task(train, others, 3, "none", 0, ""), CHOSEN)
    labels = np.array([int(label) for _, label in others])
    assert (predict(fit.model, others).argmax(axis=1) == labels).mean() > 0.9


def test_what_no_training_track_has_does_not_move_an_answer() -> None:
    fit = fit_ear(Task(_ears(30), _ears(30), 3, "none", 0, ""), CHOSEN)
    features, _ = next(iter(_ears(30).take(1).repeat(2).batch(2)))
    ears = features[EAR_FEATURE].numpy()
    ears[:, 5] = 0, 1e6
    answers = fit.model({**features, EAR_FEATURE: tf.constant(ears)})
    np.testing.assert_array_equal(answers["probabilities"][0], answers["probabilities"][1])


def test_it_does_not_learn_from_a_track_without_sound() -> None:
    train = _ears(4).map(lambda features, label: ({**features, EAR_FEATURE: features[EAR_FEATURE] * np.nan}, label))
    with pytest.raises(PipelineInputError, match="ear learns from sound"):
        fit_ear(Task(train, train, 3, "none", 0, ""), CHOSEN)


def _example(track: bytes, ear: Floats | None) -> bytes:
    example = tf.train.Example.FromString(track)
    if ear is not None:
        example.features.feature[EAR_FEATURE].float_list.value.extend(ear)
    return bytes(example.SerializeToString())


def _heard(example: bytes, seed: int) -> bytes:
    features = tf.train.Example.FromString(example).features.feature
    return _example(example, _ear(GENRES.index(features["genre"].bytes_list.value[0].decode()), seed))


def _write(folder: Path, split: str, examples: list[bytes]) -> None:
    (folder / f"Split-{split}").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "examples")) as writer:
        for example in examples:
            writer.write(example)


def _read(examples: Path, split: str) -> list[bytes]:
    return list(raw_examples([f"{examples}/Split-{split}/*"]).as_numpy_iterator())


@pytest.fixture(scope="module")
def examples(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's tracks, as if they had been read from sound files."""
    folder = tmp_path_factory.mktemp("examples")
    for split in SPLITS:
        tracks = _read(finished_run.artifact("TrackExampleGen", "examples"), split)
        _write(folder, split, [_heard(track, seed) for seed, track in enumerate(tracks)])
    return folder


def _train(examples: Path, run: FinishedRun, folder: Path) -> Path:
    """Calls the Trainer's function for ``ear``; the folder of model and run."""
    run_fn(
        FnArgs(
            train_files=[f"{examples}/Split-train/*"],
            eval_files=[f"{examples}/Split-validation/*"],
            transform_graph_path=str(run.artifact("Transform", "transform_graph")),
            serving_model_dir=str(folder / "model" / "Format-Serving"),
            model_run_dir=str(folder / "run"),
            custom_config={
                "genres": GENRES,
                "model": "ear",
                "hyperparameters": CHOSEN.model_dump(),
                "balance": "none",
                "seed": 0,
                "warm_start": False,
                "sure_accuracy": 0.8,
            },
        )
    )
    return folder


@pytest.fixture(scope="module")
def trained(examples: Path, finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(examples, finished_run, tmp_path_factory.mktemp("ear"))


@pytest.fixture(scope="module")
def passed_over(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    examples = finished_run.artifact("TrackExampleGen", "examples")
    return _train(examples, finished_run, tmp_path_factory.mktemp("passed-over"))


Served = tuple[tf.compat.v1.Session, Mapping[str, Any]]


@pytest.fixture(scope="module")
def served(trained: Path) -> Iterator[Served]:
    with serving_session(str(trained / "model" / "Format-Serving")) as found:
        yield found


def _answers(served: Served, signature: str, inputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    session, signatures = served
    return run_signature(session, signatures[signature], inputs)


def test_the_model_says_that_it_listens_in_its_signature_and_its_description(trained: Path, served: Served) -> None:
    _, signatures = served
    assert set(signatures["serving_default"].inputs) == {"timbre", "pitches", EAR_FEATURE}
    assert set(signatures["serving_examples"].inputs) == {"examples"}
    assert read_description(str(trained / "model" / "Format-Serving")).listens


@pytest.mark.parametrize("ear", [None, [np.nan] * N_EAR, [0.0] * N_EAR, [1.0] * (N_EAR - 1)])
def test_a_track_without_sound_has_no_answer_and_its_neighbours_have_theirs(
    served: Served, examples: Path, finished_run: FinishedRun, ear: list[float] | None
) -> None:
    tracks = _read(examples, "test")[:3]
    plain = _read(finished_run.artifact("TrackExampleGen", "examples"), "test")[1]
    mixed = [tracks[0], _example(plain, None if ear is None else np.array(ear, np.float32)), tracks[2]]
    whole = _answers(served, "serving_examples", {"examples": tracks})
    found = _answers(served, "serving_examples", {"examples": mixed})
    assert np.isnan(found["probabilities"][1]).all()
    assert (found["genre"][1], found["familiarity"][1], found["sure"][1]) == (b"", 0, False)
    np.testing.assert_array_equal(found["probabilities"][[0, 2]], whole["probabilities"][[0, 2]])
    if ear is None or len(ear) == N_EAR:
        arrays = request({"timbre", "pitches", EAR_FEATURE}, mixed)
        assert arrays is not None
        rows = _answers(served, "serving_default", arrays)
        np.testing.assert_allclose(rows["probabilities"], found["probabilities"], atol=1e-6)


def test_it_is_warmed_up_with_both_signatures(trained: Path, served: Served) -> None:
    records = tf.data.TFRecordDataset(str(trained / "model" / "Format-Serving" / FILE)).as_numpy_iterator()
    sent = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {EAR_FEATURE in one.inputs for one in sent if one.model_spec.signature_name == "serving_default"} == {True}
    for one in sent:
        inputs = {name: tf.make_ndarray(value) for name, value in one.inputs.items()}
        assert np.isfinite(_answers(served, one.model_spec.signature_name, inputs)["probabilities"]).all()


def test_where_a_track_has_no_sound_it_is_passed_over_in_a_line(
    examples: Path, finished_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = tmp_path / "examples"
    plain = _read(finished_run.artifact("TrackExampleGen", "examples"), "test")
    for split in SPLITS:
        _write(mixed, split, [*_read(examples, split)[:-1], *(plain[-1:] if split == "test" else [])])
    features = tf.train.Example.FromString(plain[-1]).features.feature
    track = features["track_id"].bytes_list.value[0].decode()
    with caplog.at_level(logging.INFO, logger="deepmusic.Trainer"):
        _train(mixed, finished_run, tmp_path)
    assert caplog.messages == [f"ear is passed over: it learns from sound, and there is none of the track {track}"]
    assert not has_description(_artifact(standard_artifacts.Model(), tmp_path / "model"))


def test_the_first_track_without_sound_is_named() -> None:
    tracks = [tf.train.Example(), tf.train.Example(), tf.train.Example()]
    for number, track in enumerate(tracks):
        track.features.feature["track_id"].bytes_list.value.append(f"t{number}".encode())
    tracks[0].features.feature[EAR_FEATURE].float_list.value.extend([1.0] * N_EAR)
    serialized = tf.data.Dataset.from_tensor_slices([track.SerializeToString() for track in tracks])
    assert first_unheard(serialized) == "t1"
    assert first_unheard(serialized.take(1)) is None


def _artifact(artifact: Artifact, uri: Path) -> Artifact:
    artifact.uri = str(uri)
    return artifact


def _models(*folders: Path) -> list[Artifact]:
    return [_artifact(standard_artifacts.Model(), folder / "model") for folder in folders]


def _runs(*folders: Path) -> list[Artifact]:
    return [_artifact(standard_artifacts.ModelRun(), folder / "run") for folder in folders]


def test_the_others_go_on_without_a_model_that_was_passed_over(
    trained: Path, passed_over: Path, examples: Path, tmp_path: Path
) -> None:
    (model, selection) = (standard_artifacts.Model(), ModelSelection())
    selected = {"model": [_artifact(model, tmp_path / "model")], "selection": [_artifact(selection, tmp_path / "of")]}
    (tmp_path / "of").mkdir()
    inputs = {"models": _models(passed_over, trained), "model_runs": _runs(passed_over, trained)}
    model_selector.Executor().Do(inputs, selected, {})
    assert [one.model for one in load_selection(selection.uri).candidates] == ["ear"]

    blessing = _artifact(standard_artifacts.InfraBlessing(), tmp_path / "blessing")
    (tmp_path / "blessing").mkdir()
    model_check.Executor().Do(
        {"model": [model], "model_runs": inputs["model_runs"]}, {"blessing": [blessing]}, {"genres": json.dumps(GENRES)}
    )
    assert blessing.get_int_custom_property("blessed") == 1

    predictions = _predicted(inputs["models"], [], examples, tmp_path)
    assert sorted(path.name for path in predictions.iterdir()) == ["ear.parquet"]


def test_a_baseline_that_listens_is_compared_on_the_tracks_that_it_hears(
    trained: Path, examples: Path, finished_run: FinishedRun, tmp_path: Path
) -> None:
    heard, plain = _read(examples, "test"), _read(finished_run.artifact("TrackExampleGen", "examples"), "test")
    _write(tmp_path / "examples", "test", [*plain[:1], *heard[1:]])
    models = [_artifact(standard_artifacts.Model(), finished_run.artifact("Trainer-tangent", "model"))]
    predictions = _predicted(models, _models(trained), tmp_path / "examples", tmp_path)
    of_baseline = load_predictions(str(predictions / f"{TestPredictions.BASELINE}.parquet"))
    assert len(of_baseline.probabilities) == len(heard) - 1
    assert np.isfinite(of_baseline.probabilities).all()


def _predicted(models: list[Artifact], baseline: list[Artifact], examples: Path, folder: Path) -> Path:
    """What Predictor writes."""
    given = standard_artifacts.Examples()
    given.split_names = json.dumps(["test"])
    outputs = {"predictions": [TestPredictions()], "answers": [standard_artifacts.Examples()]}
    for key, (artifact,) in outputs.items():
        _artifact(artifact, folder / key)
        (folder / key).mkdir()
    inputs = {"examples": [_artifact(given, examples)], "models": models, "baseline_model": baseline}
    predictor.Executor().Do(inputs, outputs, {"slices": json.dumps(["genre"])})
    return folder / "predictions"


def test_without_any_trained_model_a_line_says_what_to_do(passed_over: Path) -> None:
    inputs = {"models": _models(passed_over), "model_runs": _runs(passed_over)}
    with pytest.raises(PipelineInputError, match=r"Every model was passed over, .*training\.models"):
        model_selector.Executor().Do(inputs, {}, {})
