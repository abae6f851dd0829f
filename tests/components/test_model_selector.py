from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.artifacts import ModelSelection
from components.model_selector.component import ModelSelector
from components.model_selector.selection import Candidate, load_selection, select
from components.scoring.predictions import load_predictions
from components.scoring.scores import accuracy, macro_f1
from components.trainer.description import load_description
from components.trainer.input_pipeline import raw_examples
from pipeline.settings import load_settings
from tests.conftest import FinishedRun


def test_the_highest_macro_f1_is_selected_and_of_equals_the_first() -> None:
    candidates = [Candidate("a", 0.9, 0.3), Candidate("b", 0.5, 0.4), Candidate("c", 0.8, 0.4)]
    assert select(candidates).selected == "b"


def test_the_selection_is_by_the_validation_split(finished_run: FinishedRun) -> None:
    selection = load_selection(str(finished_run.artifact("ModelSelector", "selection")))
    assert [candidate.model for candidate in selection.candidates] == ["c1m1", "tangent"]
    for candidate in selection.candidates:
        run = finished_run.artifact(f"Trainer-{candidate.model}", "model_run")
        confusion = load_predictions(str(run / "validation.parquet")).confusion
        assert candidate.accuracy == pytest.approx(float(accuracy(confusion)))
        assert candidate.macro_f1 == pytest.approx(float(macro_f1(confusion)))


def test_the_selected_model_is_handed_on_whole(finished_run: FinishedRun) -> None:
    selected, model = load_selection(str(finished_run.artifact("ModelSelector", "selection"))).selected, _model()
    model.uri = str(finished_run.artifact("ModelSelector", "model"))
    assert load_description(model).name == selected
    assert load_description(model).genres == list(load_settings().genres)
    original = finished_run.artifact(f"Trainer-{selected}", "model")
    assert _files(Path(model.uri)) == _files(original)


def test_predictions_are_what_each_candidate_answers_to_the_test_split(finished_run: FinishedRun) -> None:
    pattern = f"{finished_run.artifact('TrackExampleGen', 'examples')}/Split-test/*"
    examples = tf.constant(list(raw_examples([pattern]).as_numpy_iterator()))
    for name in ("c1m1", "tangent"):
        kept = load_predictions(str(finished_run.artifact("Predictor", "predictions") / f"{name}.parquet"))
        model = tf.saved_model.load(str(finished_run.artifact(f"Trainer-{name}", "model") / "Format-Serving"))
        answer = model.signatures["serving_examples"](examples)
        np.testing.assert_allclose(kept.probabilities, answer["probabilities"], atol=1e-5)
        assert [kept.genres[index] for index in kept.predicted] == [genre.decode() for genre in answer["genre"].numpy()]


def test_the_component_hands_on_a_model_and_a_selection() -> None:
    component = ModelSelector(
        models=Channel(type=standard_artifacts.Model),
        model_runs=Channel(type=standard_artifacts.ModelRun),
    )
    assert component.outputs["model"].type is standard_artifacts.Model
    assert component.outputs["selection"].type is ModelSelection


def _model() -> standard_artifacts.Model:
    return standard_artifacts.Model()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
