"""Preprocessing, networks and the exported model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types import standard_artifacts

from components.scoring.calibration import Calibration, with_temperature
from components.scoring.predictions import Predictions, load_predictions, require_finite
from components.scoring.tracks import track_table
from components.trainer import run
from components.trainer.description import ModelDescription, load_description, not_trained_on
from components.trainer.export import EXAMPLES_SIGNATURE, ServingModule
from components.trainer.fitting import Fit, Task, class_weights
from components.trainer.input_pipeline import (
    TransformedReader,
    TransformGraph,
    balanced,
    cached_tracks,
    labels_of,
    raw_examples,
    shuffled,
)
from components.trainer.networks import conv1d_network, conv2d_network
from components.trainer.record import load_training
from components.trainer.reference import load_reference, save_reference
from components.trainer.registry import MODELS, ModelName, fit_model
from components.trainer.run import Plan, make_deterministic, predict
from components.trainer.warmup import FILE
from components.transform.preprocessing import MAX_SEGMENTS, MAX_STATISTICS_SEGMENTS, genre_index
from components.transform.statistics import track_statistics
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import EAR_FEATURE, N_COEFFICIENTS, N_EAR, SEGMENT_FEATURES
from pipeline.settings import load_settings
from tests.conftest import LONG_SEGMENTS, FinishedRun

GENRES = load_settings().genres


@pytest.fixture(scope="module")
def train_examples(finished_run: FinishedRun) -> list[bytes]:
    return list(raw_examples([_split(finished_run, "train")]).as_numpy_iterator())


@pytest.fixture(scope="module")
def graph(finished_run: FinishedRun) -> TransformGraph:
    return TransformGraph(str(finished_run.artifact("Transform", "transform_graph")))


@pytest.fixture(scope="module", params=["c1m1", "tangent"])
def model(request: pytest.FixtureRequest, finished_run: FinishedRun) -> Any:
    return _load(finished_run, request.param)


def test_segments_are_standardised_by_the_real_segments_of_the_training_split(
    train_examples: list[bytes], graph: TransformGraph
) -> None:
    tracks = [_segments(example)[:MAX_STATISTICS_SEGMENTS] for example in train_examples]
    together = np.concatenate(tracks)
    expected = np.zeros((len(tracks), MAX_SEGMENTS, len(SEGMENT_FEATURES)))
    for row, track in zip(expected, tracks, strict=True):
        row[: len(track)] = (track[:MAX_SEGMENTS] - together.mean(axis=0)) / together.std(axis=0)

    transformed = graph.layer(tf.io.parse_example(train_examples, graph.raw_spec))
    both = np.concatenate([transformed["timbre"], transformed["pitches"]], axis=2)
    np.testing.assert_allclose(both, expected, atol=1e-4)


def test_a_longer_track_is_cut_and_a_shorter_one_padded(finished_run: FinishedRun, graph: TransformGraph) -> None:
    examples = [
        example
        for split in ("train", "validation", "test")
        for example in raw_examples([_split(finished_run, split)]).as_numpy_iterator()
    ]
    lengths = [len(_segments(example)) for example in examples]
    assert max(lengths) == LONG_SEGMENTS
    timbre = graph.layer(tf.io.parse_example(examples, graph.raw_spec))["timbre"].numpy()
    filled = (timbre != 0).any(axis=2).sum(axis=1)
    np.testing.assert_array_equal(filled, np.minimum(lengths, MAX_SEGMENTS))


def test_the_class_index_is_the_place_in_the_genre_list() -> None:
    genres = tf.constant(["Rock", "Blues", "Polka", "Jazz"])
    np.testing.assert_array_equal(genre_index(genres, GENRES), [7, 0, -1, 4])


def test_labels_reach_the_trainer_as_class_indices(
    finished_run: FinishedRun, train_examples: list[bytes], graph: TransformGraph
) -> None:
    reader = TransformedReader(graph, ("timbre",))
    labels = labels_of(reader.read([_split(finished_run, "train")]))
    expected = [_features(example)["genre"].bytes_list.value[0].decode() for example in train_examples]
    assert [GENRES[label] for label in labels] == expected


def test_every_track_comes_once_an_epoch_in_a_new_order(
    finished_run: FinishedRun, train_examples: list[bytes], graph: TransformGraph, tmp_path: Path
) -> None:
    reader = TransformedReader(graph, ("timbre",))
    tracks = shuffled(cached_tracks(reader, [_split(finished_run, "train")], str(tmp_path / "cache")), seed=0)
    epochs = [np.array([features["timbre"][0, 0] for features, _ in tracks]) for _ in range(2)]
    assert len(epochs[0]) == len(train_examples)
    np.testing.assert_array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.slow
def test_balanced_tracks_are_of_every_genre_equally_often_and_all_have_their_turn(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 3], [5000, 80, 20])
    numbered = tf.data.Dataset.from_tensor_slices((np.arange(5100), labels))
    drawn = list(balanced(numbered, [5000, 80, 0, 20], 0, str(tmp_path)).take(30_000).as_numpy_iterator())
    counts = np.bincount([label for _, label in drawn], minlength=4)
    assert counts[2] == 0
    np.testing.assert_allclose(counts[[0, 1, 3]], 10_000, rtol=0.05)
    # More tracks than the buffer that shuffles them holds.
    assert len({track for track, label in drawn if label == 0}) == 5000


def test_class_weights_make_genres_count_alike_and_tracks_one_on_average() -> None:
    counts = [6, 3, 0, 1]
    weights = class_weights(counts)
    np.testing.assert_allclose(
        [count * weights[genre] for genre, count in enumerate(counts)], [10 / 3, 10 / 3, 0, 10 / 3]
    )


@pytest.mark.parametrize("feature", ["timbre", "pitches"])
def test_c1m1_and_c1m2_are_the_seeds_network_layer_for_layer(feature: str) -> None:
    network = conv1d_network(feature, 8, 0.25)
    assert network.count_params() == 297_528
    assert _parameters(network) == [2_928, 15_424, 20_544, 258_112, 520]
    assert _shapes(network) == [(254, 48), (127, 64), (63, 64), (4032,)]
    assert [layer.rate for layer in network.layers if "dropout" in layer.name] == [0.25] * 4


def test_c2m1_is_the_seeds_network_layer_for_layer() -> None:
    network = conv2d_network(8, 0.35)
    assert network.count_params() == 440_408
    assert _parameters(network) == [2_448, 76_864, 102_464, 258_112, 520]
    assert _shapes(network) == [(254, 4, 48), (127, 2, 64), (63, 1, 64), (4032,)]
    assert [layer.rate for layer in network.layers if "dropout" in layer.name] == [0.35] * 4


def test_the_defaults_are_the_seeds() -> None:
    models = load_settings().models
    assert (models.c1m1.batch_size, models.c1m1.patience, models.c1m1.min_delta) == (32, 8, 0.01)
    assert (models.c2m1.batch_size, models.c2m1.epochs, models.c2m1.dropout) == (64, 75, 0.35)


@pytest.mark.parametrize("balance", ["none", "class_weights", "balanced_batches"])
@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_is_fitted_whatever_is_done_about_rare_genres(
    name: ModelName, balance: Any, tmp_path: Path
) -> None:
    inputs = MODELS[name].inputs
    train, validation = _tracks(np.repeat([0, 1], [12, 4]), inputs), _tracks(np.arange(4) % 2, inputs)
    fit = fit_model(name, Task(train, validation, 3, balance, 0, str(tmp_path)), _quick(name))
    probabilities = predict(fit.model, validation)
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_training_that_diverges_is_told_and_not_exported() -> None:
    make_deterministic(0)
    train, validation = (_tracks(np.arange(count) % 2, ("timbre",), scale=1e36) for count in (16, 4))
    task = Task(train, validation, 2, "none", 0, "")
    with pytest.raises(PipelineInputError, match=r"diverged in epoch [23]: the loss became NaN or infinite"):
        fit_model("c1m1", task, {**_quick("c1m1"), "learning_rate": 1.0, "epochs": 3})


def test_answers_that_are_no_numbers_are_refused_by_name() -> None:
    probabilities = np.full((3, 2), 0.5, np.float32)
    assert require_finite(probabilities, "m") is probabilities
    probabilities[1] = np.nan
    with pytest.raises(PipelineInputError, match="m answers 1 of 3 tracks with no number"):
        require_finite(probabilities, "m")


def test_a_model_knows_the_tracks_that_it_was_trained_on(finished_run: FinishedRun) -> None:
    model = standard_artifacts.Model()
    model.uri = str(finished_run.artifact("Trainer-tangent", "model"))
    ids = {
        split: track_table(raw_examples([_split(finished_run, split)]))["track_id"].to_pylist()
        for split in ("train", "test")
    }
    assert not_trained_on(model, ids["train"]) == set()
    assert not_trained_on(model, ids["test"]) == set(ids["test"])


def test_the_exported_model_is_calibrated_and_shifted(train_examples: list[bytes], graph: TransformGraph) -> None:
    network, description = conv1d_network("timbre", len(GENRES), 0.0), ModelDescription("c1m1", list(GENRES))
    calibration = Calibration(2.0, 0.0, tuple(np.linspace(-1, 1, len(GENRES)).tolist()))
    plain, found = (
        ServingModule(network, ("timbre",), graph, description, each).functions[EXAMPLES_SIGNATURE](
            tf.constant(train_examples[:4])
        )["probabilities"]
        for each in (Calibration(), calibration)
    )
    np.testing.assert_allclose(found, calibration.of(plain.numpy()), atol=1e-5)


@pytest.mark.fast
def test_a_model_of_a_sample_is_judged_by_tracks_that_stand_for_those_left_out() -> None:
    plan = Plan("tangent", ["Jazz", "Rock", "Pop"], {}, "none", 0, 0.8)
    labels, answers = np.array([0, 1, 0, 1]), np.full((4, 3), 1 / 3)
    trained = run._Trained(plan, Fit(None, {}, unseen=answers), 0.0, labels, {})
    validation = Predictions(
        ("Jazz", "Rock", "Pop"), track_table(tf.data.Dataset.from_tensor_slices([""])), answers[:1]
    )
    unseen = run._unseen(trained, validation, {"Jazz": 30, "Rock": 10})
    np.testing.assert_allclose(np.exp(unseen.prior_shift), [1.5, 0.5, 1])
    assert unseen.weights is not None
    np.testing.assert_allclose(unseen.weights, [1.5, 0.5, 1.5, 0.5])
    assert run._unseen(trained, validation, None).prior_shift == ()


def test_examples_come_from_all_files_in_turn(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for number in range(3):
                writer.write(f"{name}{number}".encode())
    found = [record.decode() for record in raw_examples([f"{tmp_path}/*"]).as_numpy_iterator()]
    assert found == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_the_run_keeps_what_is_needed_to_judge_the_training(finished_run: FinishedRun) -> None:
    folder = finished_run.artifact("Trainer-c1m1", "model_run")
    record = load_training(str(folder))
    assert (record.model, record.parameters, record.seed) == ("c1m1", 297_528, 0)
    assert set(record.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert record.hyperparameters["batch_size"] == 8
    assert 0.05 <= record.temperature <= 20
    validation = load_predictions(str(folder / "validation.parquet"))
    examples, reference = load_reference(str(folder))
    calibrated = with_temperature(validation.probabilities, record.temperature)[: len(examples)]
    np.testing.assert_allclose(reference, calibrated, atol=1e-6)
    ids = [_features(example)["track_id"].bytes_list.value[0].decode() for example in examples]
    assert validation.tracks["track_id"].to_pylist()[: len(ids)] == ids


def _spoil(track: npt.NDArray[np.float32], how: str) -> npt.NDArray[np.float32]:
    track = track.copy()
    if how == "nan":
        track[3, 4] = np.nan
    elif how == "infinite":
        track[0, 0] = -np.inf
    elif how == "huge":
        track[5, 0] = 1e18
    elif how == "negative pitch":
        track[4, -1] = -0.01
    elif how == "pitch above 1":
        track[4, N_COEFFICIENTS] = 1.5
    elif how == "short":
        track = track[:2]
    elif how == "zeros":
        track[:] = 0
    return track


@pytest.mark.parametrize("how", ["nan", "infinite", "huge", "negative pitch", "pitch above 1", "short", "zeros"])
def test_one_bad_track_spoils_no_batch(model: Any, train_examples: list[bytes], how: str) -> None:
    tracks = [_segments(example) for example in train_examples[:16]]
    good = _answer_arrays(model, tracks)
    assert good["sure"].dtype == bool
    tracks[7] = _spoil(tracks[7], how)
    found = _answer_arrays(model, tracks)
    others = np.arange(16) != 7
    np.testing.assert_allclose(found["probabilities"][others], good["probabilities"][others], atol=1e-6)
    assert np.isnan(found["probabilities"][7]).all()
    assert np.isnan(found["probability"][7])
    assert (found["genre"][7], found["sure"][7]) == (b"", False)
    if "familiarity" in found:
        assert found["familiarity"][7] == 0
        assert ((found["familiarity"][others] > 0) & (found["familiarity"] <= 1)[others]).all()


def test_an_example_without_segments_or_with_some_of_them_gets_no_answer(
    model: Any, train_examples: list[bytes]
) -> None:
    half = tf.train.Example.FromString(train_examples[1])
    del half.features.feature["timbre_05"].float_list.value[-1:]
    examples = [train_examples[0], tf.train.Example().SerializeToString(), half.SerializeToString()]
    found = _answer(model, "serving_examples", examples=tf.constant(examples))
    assert [bool(genre) for genre in found["genre"].tolist()] == [True, False, False]
    assert np.isnan(found["probabilities"]).any(axis=1).tolist() == [False, True, True]


def _answer_arrays(model: Any, tracks: list[npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[Any]]:
    longest = max(map(len, tracks))
    padded = np.stack([np.pad(track, ((0, longest - len(track)), (0, 0))) for track in tracks])
    return _answer(model, "serving_default", timbre=padded[:, :, :12], pitches=padded[:, :, 12:])


def test_both_signatures_answer_alike(model: Any, train_examples: list[bytes]) -> None:
    from_examples = _answer(model, "serving_examples", examples=tf.constant(train_examples[:8]))
    timbre, pitches = _padded([_segments(example) for example in train_examples[:8]], extra=0)
    from_arrays = _answer(model, "serving_default", timbre=timbre, pitches=pitches)
    np.testing.assert_allclose(from_arrays["probabilities"], from_examples["probabilities"], atol=1e-6)


def test_the_model_carries_requests_to_be_warmed_up_by(finished_run: FinishedRun, model: Any) -> None:
    folder = finished_run.artifact("Trainer-c1m1", "model") / "Format-Serving"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator()
    ]
    requests = [log.predict_log.request for log in logs]
    assert [sent.model_spec.signature_name for sent in requests] == ["serving_default"] * 2 + ["serving_examples"] * 2
    for sent in requests:
        inputs = {name: tf.make_ndarray(value) for name, value in sent.inputs.items()}
        answer = _answer(model, sent.model_spec.signature_name, **inputs)
        np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_an_answer_needs_no_class_list(model: Any, train_examples: list[bytes]) -> None:
    answer = _answer(model, "serving_examples", examples=tf.constant(train_examples[:3]))
    assert answer["genres"].tolist() == [[genre.encode() for genre in GENRES]] * 3
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(answer["probability"], answer["probabilities"].max(axis=1))
    assert answer["analyser"].tolist() == [b"echo_nest"] * len(answer["genre"])
    best = answer["probabilities"].argmax(axis=1)
    assert [name.decode() for name in answer["genre"]] == [GENRES[index] for index in best]


@pytest.mark.parametrize("extra", [1, 37, 700])
def test_padding_does_not_change_the_answer(model: Any, train_examples: list[bytes], extra: int) -> None:
    tracks = [_segments(example) for example in train_examples[:6]]
    plain = [
        _answer(model, "serving_default", timbre=t[np.newaxis, :, :12], pitches=t[np.newaxis, :, 12:]) for t in tracks
    ]
    timbre, pitches = _padded(tracks, extra)
    padded = _answer(model, "serving_default", timbre=timbre, pitches=pitches)["probabilities"]
    np.testing.assert_allclose(padded, np.concatenate([answer["probabilities"] for answer in plain]), atol=1e-6)


def test_segments_after_the_512th_do_not_change_a_networks_answer(
    finished_run: FinishedRun, train_examples: list[bytes]
) -> None:
    model = _load(finished_run, "c1m1")
    track = np.resize(_segments(train_examples[0]), (MAX_SEGMENTS + 50, 24))
    answers = [
        _answer(model, "serving_default", timbre=part[np.newaxis, :, :12], pitches=part[np.newaxis, :, 12:])
        for part in (track, track[:MAX_SEGMENTS])
    ]
    np.testing.assert_array_equal(answers[0]["probabilities"], answers[1]["probabilities"])


def test_an_example_without_a_genre_is_served(model: Any, train_examples: list[bytes]) -> None:
    example = tf.train.Example.FromString(train_examples[0])
    del example.features.feature["genre"]
    unlabelled = _answer(model, "serving_examples", examples=tf.constant([example.SerializeToString()]))
    labelled = _answer(model, "serving_examples", examples=tf.constant(train_examples[:1]))
    np.testing.assert_array_equal(unlabelled["probabilities"], labelled["probabilities"])


def test_reference_predictions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    examples = [b"", b"one", b"\x00two\xff"]
    probabilities = np.arange(6, dtype=np.float32).reshape(3, 2)
    save_reference(str(tmp_path), examples, probabilities)
    loaded, expected = load_reference(str(tmp_path))
    assert loaded == examples
    np.testing.assert_array_equal(expected, probabilities)


def _tracks(labels: npt.NDArray[Any], inputs: tuple[str, ...], scale: float = 1.0) -> tf.data.Dataset:
    """Made-up transformed tracks whose first coefficient tells the genre."""
    rng = np.random.default_rng(0)
    timbre, pitches = scale * rng.standard_normal((2, len(labels), MAX_SEGMENTS, 12)).astype(np.float32)
    timbre[:, :, 0] += 3 * scale * labels[:, np.newaxis]
    statistics = track_statistics(timbre, np.abs(pitches), np.full(len(labels), MAX_SEGMENTS))
    ear = scale * rng.standard_normal((len(labels), N_EAR)).astype(np.float32)
    features = {"timbre": timbre, "pitches": pitches, "track_statistics": statistics, EAR_FEATURE: ear}
    return tf.data.Dataset.from_tensor_slices(({name: features[name] for name in inputs}, labels.astype(np.int64)))


def _quick(name: ModelName) -> dict[str, Any]:
    chosen = getattr(load_settings().models, name).model_dump()
    return {**chosen, "epochs": 1} if "epochs" in chosen else chosen


def _parameters(network: Any) -> list[int]:
    return [layer.count_params() for layer in network.layers if layer.count_params()]


def _shapes(network: Any) -> list[tuple[int, ...]]:
    return [layer.output.shape[1:] for layer in network.layers if "pooling" in layer.name or "flatten" in layer.name]


def _load(run: FinishedRun, name: str) -> Any:
    return tf.saved_model.load(str(run.artifact(f"Trainer-{name}", "model") / "Format-Serving"))


def _split(run: FinishedRun, split: str) -> str:
    return f"{run.artifact('TrackExampleGen', 'examples')}/Split-{split}/*"


def _features(example: bytes) -> Mapping[str, Any]:
    return tf.train.Example.FromString(example).features.feature


def _segments(example: bytes) -> npt.NDArray[np.float32]:
    features = _features(example)
    return np.array([features[name].float_list.value for name in SEGMENT_FEATURES], np.float32).T


def _padded(
    tracks: list[npt.NDArray[np.float32]], extra: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    longest = max(map(len, tracks)) + extra
    both = np.stack([np.pad(track, ((0, longest - len(track)), (0, 0))) for track in tracks])
    return both[:, :, :12], both[:, :, 12:]


def _answer(model: Any, signature: str, **inputs: Any) -> dict[str, npt.NDArray[Any]]:
    answer = model.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in answer.items()}


def test_the_description_names_the_analysers_of_the_training_tracks(finished_run: FinishedRun) -> None:
    model = standard_artifacts.Model()
    model.uri = str(finished_run.artifact("Trainer-c1m1", "model"))
    assert load_description(model).analysers == ("echo_nest",)
