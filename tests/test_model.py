"""Preprocessing, networks and the exported model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from components.trainer import ModelName
from components.trainer.input_pipeline import (
    Batching,
    TransformedReader,
    TransformGraph,
    raw_examples,
    training_batches,
)
from components.trainer.models import MODELS, c1m1
from components.trainer.reference import load_reference, save_reference
from components.transform.preprocessing import MAX_SEGMENTS, genre_index
from pipeline.settings import load_settings
from sources.track import SEGMENT_FEATURES
from tests.conftest import LONG_SEGMENTS, FinishedRun

GENRES = load_settings().genres


@pytest.fixture(scope="module")
def train_examples(finished_run: FinishedRun) -> list[bytes]:
    return list(raw_examples([_split(finished_run, "train")]).as_numpy_iterator())


@pytest.fixture(scope="module")
def graph(finished_run: FinishedRun) -> TransformGraph:
    return TransformGraph(str(finished_run.artifact("Transform", "transform_graph")))


@pytest.fixture(scope="module")
def model(finished_run: FinishedRun) -> Any:
    return tf.saved_model.load(str(finished_run.artifact("Trainer", "model") / "Format-Serving"))


def test_segments_are_standardised_by_the_real_segments_of_the_training_split(
    train_examples: list[bytes], graph: TransformGraph
) -> None:
    tracks = [_segments(example)[:MAX_SEGMENTS] for example in train_examples]
    together = np.concatenate(tracks)
    expected = np.zeros((len(tracks), MAX_SEGMENTS, len(SEGMENT_FEATURES)))
    for row, track in zip(expected, tracks, strict=True):
        row[: len(track)] = (track - together.mean(axis=0)) / together.std(axis=0)

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
    labels = [int(label) for _, label in reader.read([_split(finished_run, "train")])]
    expected = [_features(example)["genre"].bytes_list.value[0].decode() for example in train_examples]
    assert [GENRES[label] for label in labels] == expected


def test_training_batches_hold_every_track_once_an_epoch_in_a_new_order(
    finished_run: FinishedRun, train_examples: list[bytes], graph: TransformGraph, tmp_path: Path
) -> None:
    reader = TransformedReader(graph, ("timbre",))
    pattern = _split(finished_run, "train")
    with training_batches(reader, [pattern], [pattern], Batching(8, seed=0), str(tmp_path)) as (train, _):
        epochs = [np.concatenate([features["timbre"][:, 0, 0] for features, _ in train]) for _ in range(2)]
    assert len(epochs[0]) == len(train_examples)
    np.testing.assert_array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    assert not np.array_equal(epochs[0], epochs[1])


def test_c1m1_is_the_seeds_network_layer_for_layer() -> None:
    network = c1m1(8)
    assert network.count_params() == 297_528
    parameters = [layer.count_params() for layer in network.layers if layer.count_params()]
    assert parameters == [2_928, 15_424, 20_544, 258_112, 520]
    shapes = [layer.output.shape[1:] for layer in network.layers if "pooling" in layer.name or "flatten" in layer.name]
    assert shapes == [(254, 48), (127, 64), (63, 64), (4032,)]


def test_the_names_of_the_networks_are_those_that_the_settings_take() -> None:
    assert set(MODELS) == set(get_args(ModelName))


def test_both_signatures_answer_alike(model: Any, train_examples: list[bytes]) -> None:
    from_examples = _answer(model, "serving_examples", examples=tf.constant(train_examples[:8]))
    timbre, pitches = _padded([_segments(example) for example in train_examples[:8]], extra=0)
    from_arrays = _answer(model, "serving_default", timbre=timbre, pitches=pitches)
    np.testing.assert_allclose(from_arrays["probabilities"], from_examples["probabilities"], atol=1e-6)


def test_an_answer_needs_no_class_list(model: Any, train_examples: list[bytes]) -> None:
    answer = _answer(model, "serving_examples", examples=tf.constant(train_examples[:3]))
    assert answer["genres"].tolist() == [[genre.encode() for genre in GENRES]] * 3
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(answer["probability"], answer["probabilities"].max(axis=1))
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


def test_segments_after_the_512th_do_not_change_the_answer(model: Any, train_examples: list[bytes]) -> None:
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
