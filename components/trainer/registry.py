"""The models, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel

from components.trainer.fitting import Fit, Task, fit_network
from components.trainer.hyperparameters import ModelName, NetworkHyperparameters, TangentHyperparameters
from components.trainer.models import conv1d_network, conv2d_network
from components.trainer.tangent import FEATURE, fit_tangent


@dataclass(frozen=True)
class ModelDefinition:
    """A model and what it reads.

    Attributes:
        inputs: names of the transformed features it takes.
        hyperparameters: the type of what can be chosen of it.
        fit: fits it to a task.
        stops_by_validation: whether the validation split decides how long it is trained.
    """

    inputs: tuple[str, ...]
    hyperparameters: type[BaseModel]
    fit: Callable[[Task, Any], Fit]
    stops_by_validation: bool = True


MODELS: dict[ModelName, ModelDefinition] = {
    "c1m1": ModelDefinition(
        ("timbre",), NetworkHyperparameters, partial(fit_network, partial(conv1d_network, "timbre"))
    ),
    "c1m2": ModelDefinition(
        ("pitches",), NetworkHyperparameters, partial(fit_network, partial(conv1d_network, "pitches"))
    ),
    "c2m1": ModelDefinition(("timbre", "pitches"), NetworkHyperparameters, partial(fit_network, conv2d_network)),
    "tangent": ModelDefinition((FEATURE,), TangentHyperparameters, fit_tangent, stops_by_validation=False),
}


def fit_model(name: ModelName, task: Task, chosen: dict[str, Any]) -> Fit:
    """Fits a model; ``chosen`` are its hyper-parameters by name."""
    definition = MODELS[name]
    return definition.fit(task, definition.hyperparameters(**chosen))
