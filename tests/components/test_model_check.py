import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.model_check.check import answer_faults, check_model
from components.model_check.component import ModelCheck
from components.model_check.executor import Executor, read_faults
from components.scoring.saved_model import request
from components.trainer.reference import load_reference
from pipeline.settings import load_settings
from tests.conftest import FinishedRun

GENRES = load_settings().genres


@pytest.fixture
def model(finished_run: FinishedRun) -> Path:
    return finished_run.artifact("Trainer-c1m1", "model") / "Format-Serving"


@pytest.fixture
def reference(finished_run: FinishedRun) -> tuple[list[bytes], Any]:
    return load_reference(str(finished_run.artifact("Trainer-c1m1", "model_run")))


def test_a_good_model_has_no_faults(model: Path, reference: tuple[list[bytes], Any]) -> None:
    assert check_model(str(model), *reference, GENRES) == []


def test_a_model_that_answers_otherwise_than_the_trainer_is_found(
    model: Path, reference: tuple[list[bytes], Any]
) -> None:
    examples, expected = reference
    faults = check_model(str(model), examples, expected + 1e-3, GENRES)
    assert len(faults) == 2
    assert all("differ by 0.001 from the trainer's" in fault for fault in faults)


def test_a_model_without_its_variables_is_found(
    model: Path, reference: tuple[list[bytes], Any], tmp_path: Path
) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    shutil.rmtree(broken / "variables")
    (fault,) = check_model(str(broken), *reference, GENRES)
    assert fault.startswith("it does not load as TF Serving loads it: ")


def test_a_folder_that_is_no_model_is_found(reference: tuple[list[bytes], Any], tmp_path: Path) -> None:
    (fault,) = check_model(str(tmp_path), *reference, GENRES)
    assert fault.startswith("it does not load as TF Serving loads it: ")


def test_a_keras_model_that_only_eager_mode_can_load_is_found(
    reference: tuple[list[bytes], Any], tmp_path: Path
) -> None:
    class Holder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": self.network(tf.zeros([tf.size(examples), 2]))}

    holder = Holder()
    tf.saved_model.save(holder, str(tmp_path), signatures={"serving_examples": holder.serve})
    eager = tf.saved_model.load(str(tmp_path)).signatures["serving_examples"]
    assert eager(tf.constant([b""]))["probabilities"].shape == (1, 8)

    faults = check_model(str(tmp_path), *reference, GENRES)
    assert any("Could not find variable" in fault for fault in faults)


def test_a_signature_that_no_track_can_be_given_to_is_found(reference: tuple[list[bytes], Any], tmp_path: Path) -> None:
    module = tf.Module()
    serve = tf.function(lambda lyrics: {"genre": lyrics}, input_signature=[tf.TensorSpec([None], tf.string, "lyrics")])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})
    faults = check_model(str(tmp_path), *reference, GENRES)
    assert faults == ["signature serving_default: its inputs lyrics are none that a track has"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"probabilities": np.array([[0.2, 0.8, 0.0]])}, "shape"),
        ({"probabilities": np.array([[np.nan, 0.8]])}, "differ by nan"),
        ({"genres": np.array([[b"Rock", b"Jazz"]])}, "genres are not the genre list"),
        ({"genre": np.array([b"Jazz"])}, "genre is not the one of the highest probability"),
        ({"probability": np.array([0.2])}, "probability is not the highest"),
    ],
)
def test_each_fault_of_an_answer_is_found(change: dict[str, Any], fault: str) -> None:
    answer = {
        "genre": np.array([b"Rock"]),
        "probability": np.array([0.8], np.float32),
        "genres": np.array([[b"Jazz", b"Rock"]]),
        "probabilities": np.array([[0.2, 0.8]], np.float32),
    }
    expected = answer["probabilities"]
    assert answer_faults(answer, expected, ["Jazz", "Rock"]) == []
    assert any(fault in found for found in answer_faults({**answer, **change}, expected, ["Jazz", "Rock"]))


def test_inputs_that_fit_no_form_have_no_request() -> None:
    assert request({"audio"}, [b""]) is None


def test_the_executor_writes_a_blessing_that_pusher_obeys(finished_run: FinishedRun, tmp_path: Path) -> None:
    blessing = _blessing(finished_run.artifact("Trainer-c1m1", "model"), finished_run, tmp_path / "good")
    assert blessing.get_int_custom_property("blessed") == 1
    assert read_faults(blessing.uri) == []


def test_the_executor_does_not_bless_a_broken_model(finished_run: FinishedRun, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(finished_run.artifact("Trainer-c1m1", "model"), tmp_path / "model"))
    (broken / "Format-Serving" / "saved_model.pb").write_bytes(b"half a mod")
    blessing = _blessing(broken, finished_run, tmp_path / "broken")
    assert blessing.get_int_custom_property("blessed") == 0
    assert read_faults(blessing.uri)


def test_the_component_hands_on_a_blessing() -> None:
    component = ModelCheck(
        model=Channel(type=standard_artifacts.Model),
        model_runs=Channel(type=standard_artifacts.ModelRun),
        genres=GENRES,
    )
    assert component.outputs["blessing"].type is standard_artifacts.InfraBlessing


def _blessing(model_uri: Path, run: FinishedRun, uri: Path) -> standard_artifacts.InfraBlessing:
    import json

    model, model_run, blessing = (
        standard_artifacts.Model(),
        standard_artifacts.ModelRun(),
        standard_artifacts.InfraBlessing(),
    )
    uri.mkdir()
    model.uri, blessing.uri = str(model_uri), str(uri)
    model_run.uri = str(run.artifact("Trainer-c1m1", "model_run"))
    Executor().Do(
        {"model": [model], "model_runs": [model_run]}, {"blessing": [blessing]}, {"genres": json.dumps(GENRES)}
    )
    return blessing
