"""Track statistics, and the model made of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from components.scoring.calibration import Unseen, calibrate
from components.trainer.fitting import Task
from components.trainer.run import predict
from components.trainer.tangent import TRACK_STATISTICS, TangentSpace, fit_tangent, symmetric
from components.transform.statistics import (
    FRAME,
    N_MOMENTS,
    N_STATISTICS,
    pitch_shape,
    pitch_statistics,
    track_statistics,
)
from pipeline.settings import load_settings

pytestmark = pytest.mark.fast

CHOSEN = load_settings().models.tangent
Floats = npt.NDArray[np.float32]


def test_the_statistics_are_the_moments_of_three_segments_together() -> None:
    (timbre, pitches), *_ = tracks = _random_tracks([40])
    statistics = _statistics(tracks)[0]
    segments = np.concatenate([timbre, pitch_shape(pitches[np.newaxis])[0]], axis=1)
    frames = np.array([[*segments[i : i + 3].ravel(), 1] for i in range(38)])
    assert frames.shape[1] == FRAME
    expected = frames.T @ frames / 38
    np.testing.assert_allclose(symmetric(statistics[np.newaxis, :N_MOMENTS])[0], expected, atol=1e-4)
    # With the one in the frames, the last row holds the means.
    np.testing.assert_allclose(expected[-1], frames.mean(axis=0), atol=1e-6)
    assert statistics[N_MOMENTS] == 38
    assert len(statistics) == N_STATISTICS


def test_padding_and_neighbours_in_the_batch_change_no_statistics() -> None:
    tracks = _random_tracks([3, 50, 17])
    together = _statistics(tracks)
    for track, expected in zip(tracks, together, strict=True):
        np.testing.assert_allclose(_statistics([track])[0], expected, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_track_too_short_for_a_frame_has_none_and_no_undefined_number(length: int) -> None:
    (statistics,) = _statistics(_random_tracks([length]), pad=4)
    assert statistics[N_MOMENTS] == 0
    assert np.isfinite(statistics).all()
    assert not statistics[:N_MOMENTS].any()


@pytest.mark.parametrize("semitones", [1, 5, 11])
def test_the_key_of_a_track_changes_nothing(semitones: int) -> None:
    _, pitches = _random_tracks([30])[0]
    lengths = tf.constant([30], tf.int64)
    played, transposed = pitches[np.newaxis], np.roll(pitches, semitones, axis=1)[np.newaxis]
    np.testing.assert_allclose(pitch_shape(transposed), pitch_shape(played), atol=1e-5)
    np.testing.assert_allclose(pitch_statistics(transposed, lengths), pitch_statistics(played, lengths), atol=1e-5)


def test_the_intervals_count_what_follows_upon_what() -> None:
    # C, then G, then D, ...: always a fifth upwards.
    pitches = np.eye(12, dtype=np.float32)[np.arange(24) * 7 % 12]
    statistics = pitch_statistics(pitches[np.newaxis], tf.constant([24], tf.int64))[0].numpy()
    np.testing.assert_allclose(statistics[24:], np.eye(12)[7], atol=1e-6)


def test_the_average_track_is_the_origin_of_the_tangent_space() -> None:
    space = TangentSpace(prior=30.0)
    identity = np.eye(FRAME)[np.triu_indices(FRAME)]
    statistics = np.concatenate([identity, [500], np.zeros(36)])[np.newaxis].astype(np.float32)
    np.testing.assert_allclose(space(statistics), 0, atol=1e-6)


def test_distances_are_those_between_matrix_logarithms() -> None:
    rng = np.random.default_rng(0)
    space = TangentSpace(prior=1e-6)
    roots = rng.normal(0, 0.1, (2, FRAME, FRAME)) + np.eye(FRAME)
    matrices = roots @ roots.transpose(0, 2, 1)
    rows, columns = np.triu_indices(FRAME)
    statistics = np.concatenate([matrices[:, rows, columns], np.full((2, 1), 1e6), np.zeros((2, 36))], axis=1)
    one, other = space(statistics.astype(np.float32)).numpy()
    values, vectors = np.linalg.eigh(matrices)
    logs = (vectors * np.log(values)[:, np.newaxis]) @ vectors.transpose(0, 2, 1)
    assert np.linalg.norm(one - other) == pytest.approx(np.linalg.norm(logs[0] - logs[1]), rel=1e-3)


def test_the_model_tells_genres_apart_that_differ_in_how_the_timbre_moves() -> None:
    train, validation = _genres(30, seed=0), _genres(20, seed=1)
    fit = fit_tangent(Task(train, validation, 3, "none", 0, ""), CHOSEN)
    probabilities = predict(fit.model, validation)
    labels = np.array([int(label) for _, label in validation])
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    # A genre without tracks is never likely.
    assert probabilities[:, 2].max() < 1 / 3


def test_equal_tracks_give_equal_models() -> None:
    models = [fit_tangent(Task(_genres(10, 0), _genres(4, 1), 3, "none", 0, ""), CHOSEN).model for _ in range(2)]
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tracks_without_any_variety_give_numbers_all_the_same() -> None:
    timbre, pitches = np.zeros((6, 50, 12), np.float32), np.full((6, 50, 12), 0.5, np.float32)
    timbre[:3] += np.linspace(0, 1, 50)[:, np.newaxis]
    statistics = track_statistics(timbre, pitches, tf.constant([50] * 6, tf.int64))
    train = tf.data.Dataset.from_tensor_slices(({TRACK_STATISTICS: statistics}, np.array([0, 0, 0, 1, 1, 1])))
    fit = fit_tangent(Task(train, train, 2, "none", 0, ""), CHOSEN)
    assert np.isfinite(predict(fit.model, train)).all()


@pytest.mark.parametrize(
    ("labels", "num_genres", "artists"),
    [
        ([0, 1], 2, ["a", "b"]),
        ([0, 0, 0, 0, 1], 2, ["a", "b", "c", "d", "e"]),
        ([0, 0, 1, 1, 1, 1], 2, ["a", "a", "b", "c", "d", "e"]),
        ([0, 0, 0, 1, 1, 1], 2, ["a"] * 6),
        ([0, 2, 0, 2, 0, 2], 4, [""] * 6),
        ([*range(60), *range(60)], 60, [str(number) for number in range(120)]),
    ],
    ids=["two tracks", "a genre of one track", "a genre of one artist", "one artist", "absent genres", "sixty genres"],
)
@pytest.mark.parametrize("equal", [False, True], ids=["different", "all equal"])
def test_however_few_or_odd_the_tracks_answers_are_probabilities(
    labels: list[int], num_genres: int, artists: list[str], equal: bool
) -> None:
    statistics = _statistics(_random_tracks([20] * len(labels)))
    statistics = np.repeat(statistics[:1], len(labels), axis=0) if equal else statistics
    train = tf.data.Dataset.from_tensor_slices(({TRACK_STATISTICS: statistics}, np.array(labels)))
    fit = fit_tangent(Task(train, train.take(0), num_genres, "none", 0, "", artists=artists), CHOSEN)
    assert fit.unseen is not None
    calibration = calibrate(Unseen(fit.unseen, np.array(labels)), 0.8)
    for answers in (fit.unseen, predict(fit.model, train)):
        found = calibration.of(answers)
        assert found.shape == (len(labels), num_genres)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def _random_tracks(lengths: Sequence[int]) -> list[tuple[Floats, Floats]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, 12)).astype(np.float32), rng.random((n, 12)).astype(np.float32)) for n in lengths]


def _statistics(tracks: Sequence[tuple[Floats, Floats]], pad: int = 0) -> Floats:
    longest = max(len(timbre) for timbre, _ in tracks) + pad
    padded = [[np.pad(part, ((0, longest - len(part)), (0, 0))) for part in track] for track in tracks]
    timbre, pitches = (np.stack(parts) for parts in zip(*padded, strict=True))
    lengths = tf.constant([len(timbre) for timbre, _ in tracks], tf.int64)
    return np.asarray(track_statistics(timbre, pitches, lengths))


def _genres(tracks: int, seed: int) -> tf.data.Dataset:
    """Two genres of equal means and variances: in the second, a segment resembles the one before."""
    rng = np.random.default_rng(seed)
    labels = np.arange(tracks) % 2
    noise = rng.standard_normal((tracks, 201, 12)).astype(np.float32)
    smooth = (noise[:, 1:] + noise[:, :-1]) / np.sqrt(2)
    timbre = np.where(labels[:, np.newaxis, np.newaxis] == 1, smooth, noise[:, 1:])
    pitches = rng.random((tracks, 200, 12)).astype(np.float32)
    statistics = track_statistics(timbre, pitches, tf.constant([200] * tracks, tf.int64))
    return tf.data.Dataset.from_tensor_slices(({TRACK_STATISTICS: statistics}, labels.astype(np.int64)))
