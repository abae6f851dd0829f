import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.metrics import accuracy_over_majority, genre_scores, macro_f1
from components.evaluator.results import load_result
from components.trainer.input_pipeline import raw_examples
from pipeline.settings import load_settings
from tests.conftest import FinishedRun

# Three tracks of genre 0 (two found), two of genre 1 (one found), none of genre 2.
CONFUSION = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 0]], float)


def test_scores_of_a_genre() -> None:
    scores = genre_scores(CONFUSION)
    np.testing.assert_allclose(scores["support"], [3, 2, 0])
    np.testing.assert_allclose(scores["precision"], [1, 1 / 2, 0])
    np.testing.assert_allclose(scores["recall"], [2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(scores["f1"], [4 / 5, 1 / 2, np.nan])


def test_precision_of_a_genre_that_is_never_predicted_is_undefined() -> None:
    assert np.isnan(genre_scores(np.array([[0, 1], [0, 1]], float))["precision"][0])


def test_macro_f1_is_the_mean_over_the_genres_that_occur() -> None:
    assert macro_f1(CONFUSION) == pytest.approx((4 / 5 + 1 / 2) / 2)


def test_scores_of_no_tracks_are_undefined_and_not_zero() -> None:
    assert np.isnan(macro_f1(np.zeros((2, 2))))
    assert np.isnan(accuracy_over_majority(np.zeros((2, 2))))


def test_accuracy_over_majority() -> None:
    assert accuracy_over_majority(CONFUSION) == pytest.approx(3 / 5 - 3 / 5)
    assert accuracy_over_majority(np.diag([4.0, 1.0])) == pytest.approx(1 - 4 / 5)


def test_the_result_is_what_the_exported_model_answers_on_the_test_split(finished_run: FinishedRun) -> None:
    genres = load_settings().genres
    result = load_result(str(finished_run.artifact("Evaluator", "evaluation")), genres)
    examples = list(
        raw_examples([f"{finished_run.artifact('TrackExampleGen', 'examples')}/Split-test/*"]).as_numpy_iterator()
    )
    truth = [
        tf.train.Example.FromString(example).features.feature["genre"].bytes_list.value[0].decode()
        for example in examples
    ]
    model = tf.saved_model.load(str(finished_run.artifact("Trainer", "model") / "Format-Serving"))
    answers = model.signatures["serving_examples"](tf.constant(examples))["genre"].numpy()
    confusion = np.zeros((len(genres), len(genres)))
    for actual, predicted in zip(truth, answers, strict=True):
        confusion[genres.index(actual), genres.index(predicted.decode())] += 1

    assert result.accuracy == pytest.approx(np.trace(confusion) / confusion.sum())
    assert result.macro_f1 == pytest.approx(macro_f1(confusion))
    assert result.majority_share == pytest.approx(confusion.sum(axis=1).max() / confusion.sum())
    expected = genre_scores(confusion)
    for name in ("support", "precision", "recall", "f1"):
        np.testing.assert_allclose([getattr(row, name) for row in result.genres], expected[name], err_msg=name)
    assert result.failures == ()
