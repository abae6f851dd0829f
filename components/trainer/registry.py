"""The models. One declaration here is all that a new one needs, beside the code that fits it and its default settings.

Settings are read long before Keras is wanted, which takes seconds to import: it is imported where a model is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, create_model

from components.trainer.hyperparameters import (
    EarHyperparameters,
    NetworkHyperparameters,
    Range,
    SearchSpace,
    TangentHyperparameters,
)
from deepmusic_genre.tracks.track import EAR_FEATURE

if TYPE_CHECKING:
    from components.trainer.fitting import Fit, Task

ModelName = str
"""A key of :data:`MODELS`."""


@dataclass(frozen=True)
class ModelDeclaration:
    """A model and what follows from it.

    Attributes:
        inputs: Names of the transformed features that it reads.
        hyperparameters: The type of what can be chosen of it; the settings have a section of this type.
        space: What a search tries.
        fit: Fits it to a task, with chosen hyper-parameters.
        in_epochs: Whether it is trained step by step: the validation split then decides for how long, and a later
            training can start from its weights.
    """

    inputs: tuple[str, ...]
    hyperparameters: type[BaseModel]
    space: SearchSpace
    fit: Callable[[Task, Any], Fit]
    in_epochs: bool

    @property
    def listens(self) -> bool:
        """Whether it is for tracks with sound alone."""
        return EAR_FEATURE in self.inputs


def _fit_conv1d(feature: str, task: Task, chosen: NetworkHyperparameters) -> Fit:
    from components.trainer.fitting import fit_network
    from components.trainer.networks import conv1d_network

    return fit_network(partial(conv1d_network, feature), task, chosen)


def _fit_conv2d(task: Task, chosen: NetworkHyperparameters) -> Fit:
    from components.trainer.fitting import fit_network
    from components.trainer.networks import conv2d_network

    return fit_network(conv2d_network, task, chosen)


def _fit_tangent(task: Task, chosen: TangentHyperparameters) -> Fit:
    from components.trainer.tangent import fit_tangent

    return fit_tangent(task, chosen)


def _fit_ear(task: Task, chosen: EarHyperparameters) -> Fit:
    from components.trainer.ear import fit_ear

    return fit_ear(task, chosen)


_NETWORK_SPACE: SearchSpace = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "dropout": Range(0.0, 0.6),
    "batch_size": (16, 32, 64),
}
_TANGENT_SPACE: SearchSpace = {
    "gamma": Range(0.1, 1.0, log=True),
    "ridge": Range(0.05, 1.0, log=True),
    "balance": Range(0.0, 1.0),
    "pitch_share": Range(0.05, 0.5),
}
_EAR_SPACE: SearchSpace = {**_TANGENT_SPACE, "ear_share": Range(0.25, 0.9)}

_network = partial(ModelDeclaration, hyperparameters=NetworkHyperparameters, space=_NETWORK_SPACE, in_epochs=True)

MODELS: dict[ModelName, ModelDeclaration] = {
    "c1m1": _network(("timbre",), fit=partial(_fit_conv1d, "timbre")),
    "c1m2": _network(("pitches",), fit=partial(_fit_conv1d, "pitches")),
    "c2m1": _network(("timbre", "pitches"), fit=_fit_conv2d),
    "tangent": ModelDeclaration(
        ("track_statistics",), TangentHyperparameters, _TANGENT_SPACE, _fit_tangent, in_epochs=False
    ),
    "ear": ModelDeclaration(
        (EAR_FEATURE, "track_statistics"), EarHyperparameters, _EAR_SPACE, _fit_ear, in_epochs=False
    ),
}

if TYPE_CHECKING:
    ModelsHyperparameters = Any  # Its fields are known when the models are.
else:
    ModelsHyperparameters = create_model(
        "ModelsHyperparameters",
        __config__=ConfigDict(extra="forbid", frozen=True),
        **{name: (declared.hyperparameters, ...) for name, declared in MODELS.items()},
    )
"""The settings' section of models: a field for each."""


def known_model(name: str) -> ModelName:
    """A model's name; raises ValueError for any other text."""
    if name not in MODELS:
        raise ValueError(f"is not a model; there are {', '.join(MODELS)}")
    return name


def fit_model(name: ModelName, task: Task, chosen: dict[str, Any]) -> Fit:
    """Fits a model; ``chosen`` are its hyper-parameters by name."""
    declared = MODELS[name]
    return declared.fit(task, declared.hyperparameters(**chosen))
