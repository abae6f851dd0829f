"""Scores, intervals, calibration and kept predictions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from components.scoring.calibration import (
    accuracy_of_surest,
    calibration_bins,
    confidence_gap,
    error_by_chance,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    sure_from,
    with_temperature,
)
from components.scoring.predictions import TRACK_COLUMNS, Predictions, load_predictions
from components.scoring.scores import (
    Bootstrap,
    Confusion,
    Indices,
    accuracy,
    accuracy_over_always,
    balanced_accuracy,
    confusion_matrix,
    genre_f1,
    genre_scores,
    macro_f1,
    majority_share,
)
from components.scoring.tracks import track_table

pytestmark = pytest.mark.fast

# Three tracks of genre 0 (two found), two of genre 1 (one found), none of genre 2.
CONFUSION = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 0]], float)


@pytest.fixture
def answers() -> tuple[Indices, Indices]:
    rng = np.random.default_rng(0)
    actual = rng.choice(4, 500, p=[0.6, 0.2, 0.15, 0.05])
    return actual, np.where(rng.random(500) < 0.6, actual, rng.integers(0, 4, 500))


def test_scores_of_a_genre() -> None:
    scores = genre_scores(CONFUSION)
    np.testing.assert_allclose(scores["support"], [3, 2, 0])
    np.testing.assert_allclose(scores["precision"], [1, 1 / 2, 0])
    np.testing.assert_allclose(scores["recall"], [2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(scores["f1"], [4 / 5, 1 / 2, np.nan])


def test_scores_agree_with_scikit_learn(answers: tuple[Indices, Indices]) -> None:
    confusion = confusion_matrix(*answers, 4)
    precision, recall, f1, support = precision_recall_fscore_support(*answers)
    scores = genre_scores(confusion)
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1), ("support", support)):
        np.testing.assert_allclose(scores[name], expected)
    assert macro_f1(confusion) == pytest.approx(f1_score(*answers, average="macro"))
    assert balanced_accuracy(confusion) == pytest.approx(balanced_accuracy_score(*answers))


def test_scores_of_a_stack_are_those_of_each(answers: tuple[Indices, Indices]) -> None:
    one, other = confusion_matrix(*answers, 4), np.pad(CONFUSION, (0, 1))
    for score in (accuracy, balanced_accuracy, macro_f1, accuracy_over_always(0), genre_f1(1)):
        np.testing.assert_allclose(score(np.stack([one, other])), [score(one), score(other)])


def test_precision_of_a_genre_that_is_never_predicted_is_undefined() -> None:
    assert np.isnan(genre_scores(np.array([[0, 1], [0, 1]], float))["precision"][0])


def test_macro_f1_is_the_mean_over_the_genres_that_occur() -> None:
    assert macro_f1(CONFUSION) == pytest.approx((4 / 5 + 1 / 2) / 2)


def test_scores_of_no_tracks_are_undefined_and_not_zero() -> None:
    for score in (accuracy, balanced_accuracy, macro_f1, accuracy_over_always(1)):
        assert np.isnan(score(np.zeros((2, 2))))
        assert np.isnan(Bootstrap(100, 0.95).of(score, np.zeros((2, 2))).high)


def test_accuracy_over_always_answering_one_genre() -> None:
    assert accuracy_over_always(0)(CONFUSION) == pytest.approx(3 / 5 - 3 / 5)
    assert accuracy_over_always(1)(np.diag([4.0, 1.0])) == pytest.approx(1 - 1 / 5)
    assert majority_share(CONFUSION) == pytest.approx(3 / 5)


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    estimate = Bootstrap(20_000, 0.95).of(accuracy, np.array([[80, 20], [0, 0]], float))
    assert estimate.value == pytest.approx(0.8)
    # Normal approximation: 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 100).
    assert (estimate.low, estimate.high) == pytest.approx((0.7216, 0.8784), abs=0.015)


def test_the_change_between_equal_answers_is_nothing(answers: tuple[Indices, Indices]) -> None:
    actual, predicted = answers
    change = Bootstrap(500, 0.95).paired(actual, predicted, predicted, 4).change(macro_f1)
    assert (change.value, change.low, change.high) == (0, 0, 0)


def test_the_change_is_the_new_score_less_the_old_and_paired(answers: tuple[Indices, Indices]) -> None:
    actual, old = answers
    new = old.copy()
    new[np.flatnonzero(old != actual)[:25]] = actual[np.flatnonzero(old != actual)[:25]]
    pairs = Bootstrap(2000, 0.95).paired(actual, new, old, 4)
    np.testing.assert_array_equal(pairs.new[0], confusion_matrix(actual, new, 4))
    np.testing.assert_array_equal(pairs.old[0], confusion_matrix(actual, old, 4))
    np.testing.assert_allclose(pairs.new.sum(axis=(1, 2)), 500)
    change = pairs.change(accuracy)
    assert change.value == pytest.approx(0.05)
    # Two independent samples of 500 tracks could not tell 0.05 from nothing; the same tracks can.
    assert change.low > 0.03
    assert pairs.change(accuracy, comparisons=10).low < change.low


def test_one_track_shows_no_change_of_its_genre() -> None:
    actual, old, new = np.array([0] * 50 + [1]), np.array([0] * 50 + [1]), np.zeros(51, np.int64)
    change = Bootstrap(2000, 0.95).paired(actual, new, old, 2).change(genre_f1(1))
    assert (change.value, change.high) == (-1, 0)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth: Confusion = np.array([[0.5, 0.1], [0.15, 0.25]])
    covered = [
        estimate.low <= macro_f1(truth) <= estimate.high
        for estimate in (
            Bootstrap(400, 0.9, seed).of(macro_f1, rng.multinomial(200, truth.ravel()).reshape(2, 2).astype(float))
            for seed in range(300)
        )
    ]
    assert 0.84 <= np.mean(covered) <= 0.96


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 5))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    actual = np.array([rng.choice(5, p=row) for row in honest])
    boastful = with_temperature(honest, 1 / 3)
    assert fit_temperature(boastful, actual) == pytest.approx(3, rel=0.1)
    before, after = (expected_calibration_error(p, actual) for p in (boastful, with_temperature(boastful, 3)))
    assert before > 0.15
    assert after < 0.03


def test_the_temperature_leaves_the_order_of_genres_alone() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(6), 50)
    softened = with_temperature(probabilities, 4.2)
    np.testing.assert_array_equal(probabilities.argsort(axis=1), softened.argsort(axis=1))
    np.testing.assert_allclose(softened.sum(axis=1), 1)
    np.testing.assert_allclose(with_temperature(softened, 1 / 4.2), probabilities, atol=1e-9)


def test_the_temperature_stays_finite_for_perfect_and_for_hopeless_answers() -> None:
    certain = np.eye(3)[np.arange(30) % 3]
    for actual in (np.arange(30) % 3, (np.arange(30) + 1) % 3):
        assert 0.05 <= fit_temperature(certain, actual) <= 20


def test_a_few_right_answers_do_not_make_a_model_certain() -> None:
    sure = np.tile([0.8, 0.2], (4, 1))
    assert 0.5 < fit_temperature(sure, np.zeros(4, np.int64)) < 1
    assert fit_temperature(np.tile([0.8, 0.2], (5000, 1)), np.zeros(5000, np.int64)) < 0.3


def test_the_calibration_error_is_the_gap_between_sure_and_right() -> None:
    probabilities = np.tile([0.9, 0.1], (10, 1))
    assert expected_calibration_error(probabilities, np.repeat([0, 1], 5)) == pytest.approx(0.4)
    bins = calibration_bins(probabilities, np.repeat([0, 1], 5))
    assert bins[13].tolist() == pytest.approx([10, 0.9, 0.5])
    assert bins[:, 0].sum() == 10
    assert np.isnan(expected_calibration_error(np.zeros((0, 2)), np.zeros(0, np.int64)))


def test_predictions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    genres = ("Rock", "Hip-Hop", "Übermut & Söhne")
    values = {"genre": [genres[i % 3] for i in range(7)], "title": ["", "a", "ß", "\n", "'", '"', "x" * 999]}
    tracks = pa.table(
        {n: pa.array(values.get(n, [1 if t != pa.string() else "t"] * 7), t) for n, t in TRACK_COLUMNS.items()}
    )
    kept = Predictions(genres, tracks, rng.dirichlet(np.ones(3), 7).astype(np.float32))
    kept.save(str(tmp_path / "p.parquet"))
    loaded = load_predictions(str(tmp_path / "p.parquet"))
    assert loaded.genres == genres
    assert loaded.tracks.equals(tracks)
    np.testing.assert_array_equal(loaded.probabilities, kept.probabilities)
    assert loaded.actual.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_tracks_of_examples_are_read_without_their_segments() -> None:
    def example(**features: tf.train.Feature) -> bytes:
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    def text(value: str) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))

    tempo = tf.train.Feature(float_list=tf.train.FloatList(value=[120.5]))
    first = example(track_id=text("a"), title=text("Ö"), timbre_01=tf.train.Feature(), tempo=tempo)
    table = track_table(tf.data.Dataset.from_tensor_slices([first, example(track_id=text("b"))]))
    assert table["track_id"].to_pylist() == ["a", "b"]
    assert table["title"].to_pylist() == ["Ö", ""]
    assert table["num_segments"].to_pylist() == [0, 0]
    assert (table["tempo"].to_pylist(), table["key"].to_pylist()) == ([120.5, None], [None, None])


def test_probabilities_without_fault_show_an_error_by_chance_that_shrinks_with_the_tracks() -> None:
    rng = np.random.default_rng(0)
    found = []
    for tracks in (100, 10_000):
        sure = rng.uniform(0.5, 1, tracks)
        probabilities = np.stack([sure, 1 - sure], axis=1)
        actual = (rng.random(tracks) >= sure).astype(np.int64)
        found.append(error_by_chance(probabilities))
        assert found[-1] == pytest.approx(expected_calibration_error(probabilities, actual), abs=0.06)
        assert confidence_gap(probabilities, actual, 0.99).low < 0 < confidence_gap(probabilities, actual, 0.99).high
    assert found[0] > 5 * found[1]


def test_a_model_that_is_too_sure_has_a_gap_above_zero() -> None:
    probabilities, actual = np.tile([0.9, 0.1], (10, 1)), np.repeat([0, 1], 5)
    gap = confidence_gap(probabilities, actual, 0.95)
    assert gap.value == pytest.approx(0.4)
    assert gap.low < 0.4 < gap.high
    assert log_loss(probabilities, actual) == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2)


def test_the_surest_answers_are_those_of_the_highest_probabilities() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    actual = np.array([1, 0, 0, 1])
    assert [accuracy_of_surest(probabilities, actual, share) for share in (1.0, 0.75, 0.5, 0.0)] == [0.5, 2 / 3, 1, 1]


def test_sure_is_from_where_answers_are_right_as_often_as_is_wanted() -> None:
    sure = np.linspace(0.99, 0.5, 200)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    actual = np.where(np.arange(200) < 100, 0, 1)  # The surer half is right.
    assert sure_from(probabilities, actual, 0.8) == pytest.approx(sure[124])
    assert sure_from(probabilities, np.ones(200, np.int64), 0.8) > 1
