"""What a model is blessed for, and what not."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.artifacts import ModelVerdict, TestPredictions
from components.model_validator.component import ModelValidator
from components.model_validator.executor import Executor
from components.model_validator.judgement import judge
from components.model_validator.limits import Limits
from components.model_validator.verdict import load_verdict
from components.scoring.predictions import TRACK_COLUMNS, Predictions
from components.trainer.description import ModelDescription
from pipeline.settings import load_settings

GENRES = ("Rock", "Jazz", "Blues")
LIMITS = load_settings().evaluation.limits


def test_a_first_model_has_to_beat_the_most_frequent_genre_alone() -> None:
    assert judge(("m", _answers([90, 25, 5])), None, LIMITS).blessed
    verdict = judge(("m", _answers([100, 0, 0])), None, LIMITS)
    assert not verdict.blessed
    assert "most frequent genre is 0.000" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"min_accuracy": 0.9}, "accuracy is 0.800"),
        ({"min_macro_f1": 0.9}, "macro F1 is 0.6"),
        ({"min_genre_f1": {"Blues": 0.6}}, "F1 of Blues is 0."),
    ],
)
def test_a_minimum_that_is_not_reached_blocks(limit: dict[str, Any], reason: str) -> None:
    verdict = judge(("m", _answers([90, 25, 5])), None, LIMITS.model_copy(update=limit))
    (line,) = verdict.reasons
    assert line.startswith(reason)
    assert "asked for: at least" in line


def test_a_minimum_for_a_genre_without_test_tracks_blocks_and_says_why() -> None:
    limits = LIMITS.model_copy(update={"min_genre_f1": {"Blues": 0.1}})
    verdict = judge(("m", _answers([90, 25], sizes=(100, 30))), None, limits)
    assert verdict.reasons == ["F1 of Blues cannot be measured on the test split, asked for: at least 0.1"]
    assert next(check for check in verdict.checks if check.name == "F1 of Blues").value is None


def test_a_model_that_is_worse_is_not_blessed_and_the_reason_has_the_interval() -> None:
    verdict = judge(("new", _answers([60, 15, 5])), ("old", _answers([90, 25, 12])), LIMITS)
    assert verdict.baseline == "old"
    assert not verdict.blessed
    assert any(line.startswith("change of accuracy is -0.313 (-0.") for line in verdict.reasons)


def test_a_model_that_is_better_overall_but_ruins_a_genre_is_not_blessed() -> None:
    new, old = _answers([99, 29, 0]), _answers([75, 18, 18])
    verdict = judge(("new", new), ("old", old), LIMITS.model_copy(update={"max_macro_f1_drop": 1}))
    changes = {check.name: check for check in verdict.checks}
    assert changes["change of accuracy"].value is not None
    assert changes["change of accuracy"].value > 0.05
    assert [check.name for check in verdict.checks if not check.passed] == ["change of F1 of Blues"]


def test_a_genre_that_is_lost_blocks_even_where_few_tracks_show_it() -> None:
    new, old = _answers([99, 29, 0], sizes=(100, 30, 6)), _answers([75, 18, 4], sizes=(100, 30, 6))
    verdict = judge(("new", new), ("old", old), LIMITS)
    assert "change of F1 of Blues" in [check.name for check in verdict.checks if not check.passed]
    # Of one track in six, the baseline knew too little for its loss to be told from noise.
    poor = _answers([75, 18, 1], sizes=(100, 30, 6))
    assert judge(("new", new), ("old", poor), LIMITS).blessed


def test_noise_neither_blocks_nor_counts_as_a_fall() -> None:
    # Three tracks of 150 fewer: beyond the 0.01 that are allowed, but nothing that 150 tracks could show.
    limits = LIMITS.model_copy(update={"max_accuracy_drop": 0.01})
    actual = _actual((100, 30, 20))
    old, new = actual.copy(), actual.copy()
    old[:25] = new[8:36] = 1
    verdict = judge(("new", _predictions(actual, new)), ("old", _predictions(actual, old)), limits)
    change = next(check for check in verdict.checks if check.name == "change of accuracy")
    assert change.value == pytest.approx(-0.02)
    assert change.high is not None
    assert change.high >= 0
    assert change.passed


def test_equally_good_models_pass_as_often_as_the_confidence_says() -> None:
    rng = np.random.default_rng(0)
    actual = _actual((60, 25, 8))
    passed = []
    for _ in range(100):
        old, new = (np.where(rng.random(93) < 0.7, actual, rng.integers(0, 3, 93)) for _ in range(2))
        verdict = judge(("new", _predictions(actual, new)), ("old", _predictions(actual, old)), LIMITS)
        passed.append(all(check.passed for check in verdict.checks if check.name.startswith("change")))
    assert np.mean(passed) >= 0.88


def test_a_baseline_is_compared_on_the_tracks_that_it_was_not_trained_on() -> None:
    old, new = _answers([100, 30, 20]), _answers([90, 25, 12])
    # It knew the first hundred: there it could not be beaten.
    rest = old.only(old.tracks["track_id"].to_pylist()[100:])
    verdict = judge(("new", new), ("old", rest), LIMITS)
    change = next(check for check in verdict.checks if check.name == "change of accuracy")
    assert change.value == pytest.approx(37 / 50 - 1)


def test_the_same_fall_counts_where_enough_tracks_show_it() -> None:
    many = [_answers([9000, 2500, c], sizes=(10_000, 3_000, 2_000)) for c in (1200, 1600)]
    verdict = judge(("new", many[0]), ("old", many[1]), LIMITS)
    assert not verdict.blessed


def test_a_genre_without_test_tracks_is_not_compared() -> None:
    verdict = judge(("n", _answers([90, 25], (100, 30))), ("o", _answers([91, 25], (100, 30))), LIMITS)
    assert verdict.blessed
    assert all("Blues" not in check.name for check in verdict.checks)


@pytest.mark.parametrize(
    ("right", "limits", "failed"),
    [
        ([95, 28, 18], {"max_macro_f1_drop": -0.01}, []),
        ([95, 28, 18], {"max_macro_f1_drop": -0.01, "max_accuracy_drop": -0.5}, ["change of accuracy"]),
        ([86, 20, 10], {"max_macro_f1_drop": -0.001}, ["change of macro F1"]),
        ([85, 20, 10], {"max_macro_f1_drop": -0.001}, ["change of macro F1"]),
        ([85, 20, 10], {}, []),
    ],
    ids=["better", "not by so much", "within noise", "equal", "no gain asked for"],
)
def test_a_gain_that_is_asked_for_has_to_be_there_beyond_noise(
    right: list[int], limits: dict[str, Any], failed: list[str]
) -> None:
    asked = LIMITS.model_copy(update=limits)
    verdict = judge(("new", _answers(right)), ("old", _answers([85, 20, 10])), asked)
    assert [check.name for check in verdict.checks if not check.passed] == failed
    assert judge(("first", _answers(right)), None, asked).blessed


def test_a_model_that_is_no_better_seldom_passes_for_one_that_is() -> None:
    rng = np.random.default_rng(0)
    actual = _actual((60, 25, 8))
    limits = LIMITS.model_copy(update={"max_accuracy_drop": -0.0001, "max_macro_f1_drop": -0.0001})
    blessed = []
    for _ in range(100):
        old, new = (np.where(rng.random(93) < 0.7, actual, rng.integers(0, 3, 93)) for _ in range(2))
        blessed.append(judge(("n", _predictions(actual, new)), ("o", _predictions(actual, old)), limits).blessed)
    assert np.mean(blessed) <= 0.05


@pytest.mark.parametrize("good", [True, False])
def test_the_executor_blesses_as_tfx_does(good: bool, tmp_path: Path) -> None:
    model, predictions = standard_artifacts.Model(), TestPredictions()
    blessing, verdict = standard_artifacts.ModelBlessing(), ModelVerdict()
    for name, artifact in {"m": model, "p": predictions, "b": blessing, "v": verdict}.items():
        artifact.uri = str(tmp_path / name)
        (tmp_path / name).mkdir()
    model.id = 42
    ModelDescription("c1m1", list(GENRES)).save(str(tmp_path / "m" / "Format-Serving"), [])
    _answers([90, 25, 12] if good else [100, 0, 0]).save(str(tmp_path / "p" / "c1m1.parquet"))
    Executor().Do(
        {"model": [model], "predictions": [predictions]},
        {"blessing": [blessing], "verdict": [verdict]},
        {"limits": LIMITS.model_dump_json()},
    )
    assert load_verdict(verdict.uri).blessed is good
    assert blessing.get_int_custom_property("blessed") == int(good)
    assert blessing.get_int_custom_property("current_model_id") == 42
    assert [path.name for path in Path(blessing.uri).iterdir()] == ["BLESSED" if good else "NOT_BLESSED"]


@pytest.mark.parametrize("listens", [True, False])
def test_a_listening_baseline_that_answers_no_track_blocks(listens: bool, tmp_path: Path) -> None:
    model, baseline, predictions = standard_artifacts.Model(), standard_artifacts.Model(), TestPredictions()
    blessing, verdict = standard_artifacts.ModelBlessing(), ModelVerdict()
    for artifact in (model, baseline, predictions, blessing, verdict):
        artifact.uri = str(tmp_path / str(id(artifact)))
        Path(artifact.uri).mkdir()
    for artifact, name, hears in ((model, "tangent", False), (baseline, "ear", listens)):
        description = ModelDescription(name, list(GENRES), listens=hears)
        description.save(f"{artifact.uri}/Format-Serving", [])
    _answers([90, 25, 12]).save(f"{predictions.uri}/tangent.parquet")
    Executor().Do(
        {"model": [model], "baseline_model": [baseline], "predictions": [predictions]},
        {"blessing": [blessing], "verdict": [verdict]},
        {"limits": LIMITS.model_dump_json()},
    )
    found = load_verdict(verdict.uri)
    assert found.blessed is not listens
    assert all("the latest blessed model listens" in reason for reason in found.reasons)


def test_the_component_hands_on_a_blessing_and_a_verdict() -> None:
    component = ModelValidator(
        model=Channel(type=standard_artifacts.Model),
        baseline_model=Channel(type=standard_artifacts.Model),
        predictions=Channel(type=TestPredictions),
        limits=LIMITS,
    )
    assert component.outputs["blessing"].type is standard_artifacts.ModelBlessing
    assert Limits.model_validate_json(component.exec_properties["limits"]) == LIMITS


def _actual(sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(sizes)), sizes)


def _answers(right: list[int], sizes: tuple[int, ...] = (100, 30, 20)) -> Predictions:
    """So many of each genre's tracks are right; the others are said to be of the first genre, or the second."""
    actual = _actual(sizes)
    predicted = np.zeros_like(actual)
    for genre, (count, start) in enumerate(zip(right, np.cumsum([0, *sizes]), strict=False)):
        predicted[start : start + sizes[genre]] = 1 if genre == 0 else 0
        predicted[start : start + count] = genre
    return _predictions(actual, predicted)


def _predictions(actual: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> Predictions:
    genres = [GENRES[index] for index in actual]
    values = {"genre": genres, "track_id": [f"track-{row}" for row in range(len(actual))]}
    filler = {pa.string(): "x", pa.int64(): 1, pa.float32(): 1.0}
    columns = {
        name: pa.array(values.get(name, [filler[of_type]] * len(actual)), of_type)
        for name, of_type in TRACK_COLUMNS.items()
    }
    return Predictions(GENRES, pa.table(columns), np.eye(3, dtype=np.float32)[predicted])
