"""Tests of trainings that start from an earlier model."""

import logging
from pathlib import Path

import keras
import ml_metadata as mlmd
import numpy as np
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.types import Artifact, standard_artifacts

from components.baseline_resolver.strategy import WarmStartStrategy
from components.trainer.description import ModelDescription, track_hash, trained_on
from components.trainer.fitting import Fit, Task, fit_network
from components.trainer.hyperparameters import NetworkHyperparameters
from components.trainer.warm_start import Start, start_from
from pipeline.create_pipeline import create_pipeline
from pipeline.settings import load_settings
from tests.conftest import FinishedRun
from tests.support.tracks import GENRES

pytestmark = pytest.mark.slow

# The wiring


def test_only_trainers_in_epochs_are_made_anew_when_it_is_switched() -> None:
    cold, warm = (_configs(f"training.warm_start={value}") for value in ("false", "true"))
    assert {name for name in cold if cold[name] != warm[name]} == {"Trainer-c1m1"}
    assert set(cold) == {"Trainer-c1m1", "Trainer-tangent"}


def _configs(assignment: str) -> dict[str, str]:
    settings = load_settings(None, ["data.path=x", "training.models=[c1m1, tangent]", assignment])
    nodes = create_pipeline(settings, "a", "b").components
    return {node.id: node.exec_properties["custom_config"] for node in nodes if node.id.startswith("Trainer-")}


# Which model


class _History:
    """ML Metadata of runs that each train a model, select it and bless it."""

    def __init__(self, folder: Path) -> None:
        config = metadata_store_pb2.ConnectionConfig()
        config.fake_database.SetInParent()
        self.store = mlmd.MetadataStore(config)
        self._folder = folder
        self._execution = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name="any"))
        self._artifact = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="any"))
        self.given: dict[str, list[Artifact]] = {"model": [], "model_blessing": []}

    def artifact(self) -> int:
        artifact = metadata_store_pb2.Artifact(type_id=self._artifact)
        return int(self.store.put_artifacts([artifact])[0])

    def make(self, key: str, inputs: dict[str, int]) -> int:
        """A new artifact that an execution makes from others."""
        made = self.artifact()
        execution = metadata_store_pb2.Execution(type_id=self._execution)
        (number,) = self.store.put_executions([execution])
        event = metadata_store_pb2.Event
        ends = [(name, each, event.INPUT) for name, each in inputs.items()] + [(key, made, event.OUTPUT)]
        for name, each, kind in ends:
            step = event.Path.Step(key=name)
            path = event.Path(steps=[step])
            self.store.put_events([event(artifact_id=each, execution_id=number, type=kind, path=path)])
        return made

    def run(self, description: ModelDescription, examples: int, blessed: int = 1) -> int:
        trained = self.make("model", {"examples": examples})
        selected = self.make("model", {"models": trained})
        model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
        model.uri, model.id = str(self._folder / str(selected)), selected
        description.save(f"{model.uri}/Format-Serving", [])
        blessing.set_int_custom_property("blessed", blessed)
        blessing.set_int_custom_property("current_model_id", selected)
        self.given["model"].append(model)
        self.given["model_blessing"].append(blessing)
        return selected

    def start(self, examples: int) -> list[int]:
        """The numbers of what a training of c1m1 on examples starts from."""
        current = standard_artifacts.Examples()
        current.id = examples
        given = {**self.given, "examples": [current]}
        resolved = WarmStartStrategy("c1m1", list(GENRES)).resolve_artifacts(self.store, given) or {}
        return [model.id for model in resolved["model"]]


C1M1 = ModelDescription("c1m1", list(GENRES))


def test_start_is_the_latest_blessed_model_of_the_name_and_genres(tmp_path: Path) -> None:
    history = _History(tmp_path)
    history.run(C1M1, history.artifact())
    wanted = history.run(C1M1, history.artifact())
    history.run(ModelDescription("c1m2", list(GENRES)), history.artifact())
    history.run(ModelDescription("c1m1", list(GENRES[:3])), history.artifact())
    history.run(C1M1, history.artifact(), blessed=0)
    assert history.start(history.artifact()) == [wanted]


def test_run_that_is_repeated_starts_from_where_it_started_the_first_time(tmp_path: Path) -> None:
    history = _History(tmp_path)
    first, second = history.artifact(), history.artifact()
    assert history.start(first) == []
    from_first = history.run(C1M1, first)
    assert history.start(first) == []
    assert history.start(second) == [from_first]
    from_second = history.run(C1M1, second)
    assert history.start(second) == [from_first]
    assert history.start(history.artifact()) == [from_second]


# Whether it fits


@pytest.fixture
def earlier(finished_run: FinishedRun) -> str:
    return str(finished_run.artifact("Trainer-c1m1", "model") / "Format-Serving")


def test_start_has_the_weights_of_the_exported_model(earlier: str) -> None:
    start = start_from(earlier, C1M1, ["a stranger"])
    assert start is not None
    assert sum(weight.size for weight in start.weights) == 297_528
    assert start.trained_on == trained_on(earlier)
    answers = tf.saved_model.load(earlier).weights
    for weight, exported in zip(start.weights, answers, strict=True):
        np.testing.assert_array_equal(weight, exported.numpy())


def test_model_that_does_not_fit_is_a_cold_start_with_its_reason(
    earlier: str, finished_run: FinishedRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "deepmusic")
    learned = next(
        name.name.removesuffix(".json.gz")
        for name in sorted(finished_run.data.iterdir())
        if track_hash(name.name.removesuffix(".json.gz")) in trained_on(earlier)
    )
    assert start_from(None, C1M1, []) is None
    assert start_from(earlier, ModelDescription("c1m1", list(GENRES), ("deepmusic-1",)), []) is None
    assert start_from(earlier, C1M1, [learned, "a stranger"]) is None
    assert caplog.messages == [
        "starts cold: there is no blessed model c1m1 of these genres and of other examples",
        "starts cold: the latest blessed one learned from tracks of echo_nest",
        "starts cold: the latest blessed one learned from 1 tracks that are held out now",
    ]


def test_model_remembers_what_the_one_before_it_learned_from(tmp_path: Path) -> None:
    C1M1.save(str(tmp_path / "first"), ["a", "b"])
    C1M1.save(str(tmp_path / "second"), ["b", "c"], trained_on(str(tmp_path / "first")))
    assert trained_on(str(tmp_path / "second")) == set(map(track_hash, "abc"))


# The training


def _network(genres: int, dropout: float) -> keras.Model:
    segments = keras.Input((4,), name="timbre")
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(6, activation="relu")(segments))
    return keras.Model({"timbre": segments}, keras.layers.Dense(genres, activation="softmax")(x))


def _fit(start: Start | None, epochs: int) -> Fit:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((64, 4)).astype(np.float32), np.arange(64) % 3
    tracks = tf.data.Dataset.from_tensor_slices(({"timbre": values + labels[:, np.newaxis]}, labels))
    chosen = NetworkHyperparameters(
        epochs=epochs, batch_size=16, learning_rate=0.01, dropout=0.2, min_delta=0.0, patience=100
    )
    return fit_network(_network, Task(tracks, tracks, 3, "none", 0, "", start=start), chosen)


def _start(fit: Fit) -> Start:
    return Start(tuple(weight.numpy() for weight in fit.model.weights), "earlier", frozenset())


def test_warm_training_goes_on_where_the_earlier_one_ended() -> None:
    cold = _fit(None, 20)
    warm = _fit(_start(cold), 3)
    assert cold.start is None
    assert warm.start is not None
    assert warm.history["loss"][0] < cold.history["loss"][0] / 2


def test_equal_starts_and_seeds_give_equal_weights() -> None:
    start = _start(_fit(None, 2))
    one, other = (_fit(start, 3).model.get_weights() for _ in range(2))
    for weight, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, again)


def test_network_of_other_layers_starts_cold_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "deepmusic")
    cold = _fit(None, 2)
    start = Start((np.zeros((4, 7), np.float32),), "earlier", frozenset())
    fit = _fit(start, 2)
    assert fit.start is None
    assert fit.history == cold.history
    assert "starts cold: the layers of the latest blessed one are not those of this network" in caplog.messages
