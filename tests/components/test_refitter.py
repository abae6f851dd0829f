"""Fitting the model that passed its evaluation to every track."""

import logging
from pathlib import Path

import numpy as np
import pytest
from tfx.types import Artifact, standard_artifacts
from tfx.types.channel import Channel

from components.model_check.check import check_model
from components.refitter.component import Refitter
from components.refitter.executor import Executor
from components.scoring.tracks import track_table
from components.trainer.description import evaluated_in, load_description, not_trained_on
from components.trainer.input_pipeline import raw_examples
from components.trainer.record import load_training
from components.trainer.reference import load_reference
from pipeline.create_pipeline import create_pipeline
from pipeline.settings import load_settings
from tests.conftest import FinishedRun

GENRES = load_settings().genres
PARAMETERS = {"balance": "none", "sure_accuracy": 0.8, "encloses_evaluated": 1}


def _artifact(of: type[Artifact], folder: Path) -> Artifact:
    artifact = of()
    artifact.uri = str(folder)
    return artifact


def _refit(run: FinishedRun, model: str, folder: Path) -> tuple[Artifact, Path]:
    """What Refitter makes of a model, and what it says of the training."""
    inputs = {
        "examples": _artifact(standard_artifacts.Examples, run.artifact("TrackExampleGen", "examples")),
        "transform_graph": _artifact(standard_artifacts.TransformGraph, run.artifact("Transform", "transform_graph")),
        "evaluated": _artifact(standard_artifacts.Model, run.artifact(f"Trainer-{model}", "model")),
    }
    runs = [run.artifact(f"Trainer-{name}", "model_run") for name in ("c1m1", "tangent")]
    given = {key: [artifact] for key, artifact in inputs.items()}
    given["model_runs"] = [_artifact(standard_artifacts.ModelRun, each) for each in runs]
    made = _artifact(standard_artifacts.Model, folder / "model")
    known = _artifact(standard_artifacts.ModelRun, folder / "run")
    Executor().Do(given, {"model": [made], "model_run": [known]}, PARAMETERS)
    return made, folder / "run"


def _ids(run: FinishedRun) -> dict[str, set[str]]:
    folder = run.artifact("TrackExampleGen", "examples")
    return {
        split: set(track_table(raw_examples([f"{folder}/Split-{split}/*"]))["track_id"].to_pylist())
        for split in ("train", "validation", "test")
    }


def test_the_refitted_model_has_learned_from_every_track_and_holds_the_evaluated_one_that_has_not(
    finished_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = _ids(finished_run)
    with caplog.at_level(logging.INFO, "deepmusic"):
        model, run = _refit(finished_run, "tangent", tmp_path)
    assert not_trained_on(model, set().union(*ids.values())) == set()
    record = load_training(str(run))
    assert record.learned_from == {split: len(own) for split, own in ids.items()}
    assert record.unseen_accuracy is not None
    told = ", ".join(f"{len(own)} of {split}" for split, own in ids.items())
    assert f"tangent has learned from all tracks: {told}" in caplog.text
    folder = f"{model.uri}/Format-Serving"
    assert check_model(folder, *load_reference(str(run)), GENRES) == []
    weights = "variables/variables.data-00000-of-00001"
    evaluated = Path(evaluated_in(folder))
    assert str(evaluated) != folder
    trained = finished_run.artifact("Trainer-tangent", "model")
    held_out = ids["test"] | ids["validation"]
    assert not_trained_on(_artifact(standard_artifacts.Model, trained), held_out) == held_out
    assert (evaluated / weights).read_bytes() == (trained / "Format-Serving" / weights).read_bytes()
    assert (Path(folder) / weights).read_bytes() != (evaluated / weights).read_bytes()


def test_a_network_is_handed_on_as_it_is(
    finished_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "deepmusic"):
        model, run = _refit(finished_run, "c1m1", tmp_path)
    assert "c1m1 is not fitted again: only the validation split says when its training ends" in caplog.messages
    original = finished_run.artifact("Trainer-c1m1", "model_run")
    assert load_description(model).name == "c1m1"
    assert load_training(str(run)) == load_training(str(original))
    np.testing.assert_array_equal(load_reference(str(run))[1], load_reference(str(original))[1])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("assignments", "refits"),
    [
        (("training.models=[c1m1, tangent]",), True),
        (("training.models=[c1m1]",), False),
        (("training.models=[tangent]", "training.refit=false"), False),
        (("training.models=[tangent]", "training.sampling=downsampled"), False),
    ],
)
def test_what_is_checked_and_pushed_is_the_refitted_model_where_there_is_one(
    assignments: tuple[str, ...], refits: bool
) -> None:
    settings = load_settings(None, ["data.path=x", *assignments])
    nodes = {node.id: node for node in create_pipeline(settings, "a", "b").components}
    producer = "Refitter" if refits else "ModelSelector"
    assert ("Refitter" in nodes) == refits
    for consumer in ("ModelCheck", "Pusher"):
        assert nodes[consumer].inputs["model"].producer_component_id == producer
    assert nodes["ModelValidator"].inputs["model"].producer_component_id == "ModelSelector"


@pytest.mark.fast
def test_the_component_hands_on_a_model_and_a_run() -> None:
    channels = {key: Channel(type=given.type) for key, given in Refitter.SPEC_CLASS.INPUTS.items()}
    refitter = Refitter(**channels, balance="none", sure_accuracy=0.8, encloses_evaluated=True)
    assert refitter.outputs["model"].type is standard_artifacts.Model
    assert refitter.outputs["model_run"].type is standard_artifacts.ModelRun
    assert refitter.exec_properties["encloses_evaluated"] == 1
