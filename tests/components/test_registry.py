"""What every model has to keep to, whichever are declared."""

import pytest
import tensorflow_transform as tft

from components.trainer.hyperparameters import Range
from components.trainer.registry import MODELS, ModelsHyperparameters
from pipeline.settings import load_settings
from tests.conftest import FinishedRun


@pytest.fixture(scope="module")
def transformed(finished_run: FinishedRun) -> set[str]:
    """The names of the features that Transform makes."""
    output = tft.TFTransformOutput(str(finished_run.artifact("Transform", "transform_graph")))
    return set(output.transformed_feature_spec())


@pytest.mark.parametrize("name", MODELS)
def test_transform_makes_what_a_model_reads(name: str, transformed: set[str]) -> None:
    assert set(MODELS[name].inputs) <= transformed


@pytest.mark.parametrize("name", MODELS)
def test_the_settings_have_a_models_hyperparameters_and_a_search_tries_those_alone(name: str) -> None:
    declared, defaults = MODELS[name], getattr(load_settings().models, name)
    assert isinstance(defaults, declared.hyperparameters)
    assert ModelsHyperparameters.model_fields[name].annotation is declared.hyperparameters
    for parameter, tried in declared.space.items():
        values = (tried.low, tried.high) if isinstance(tried, Range) else tried
        for value in values:
            declared.hyperparameters(**{**defaults.model_dump(), parameter: value})


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_known_to_the_settings_by_its_name(name: str) -> None:
    assert load_settings(assignments=[f"training.models=[{name}]"]).training.models == (name,)
