"""The models' names and what can be chosen of each; can be had without importing Keras."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["c1m1", "c1m2", "c2m1", "tangent"]
"""The models there are; ``registry.py`` defines them."""

Balance = Literal["none", "class_weights", "balanced_batches"]
"""How training makes up for rare genres: not; each track weighted by the inverse of its genre's share; or each genre
drawn equally often."""


class NetworkHyperparameters(BaseModel):
    """What can be chosen of one of the seed's networks; see ``pipeline/defaults.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    min_delta: Annotated[float, Field(ge=0, le=1)]
    patience: Annotated[int, Field(ge=0)]


class TangentHyperparameters(BaseModel):
    """What can be chosen of ``tangent``; see ``pipeline/defaults.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prior: Annotated[float, Field(gt=0)]
    deviation_power: Annotated[float, Field(ge=0, le=1)]
    pitch_share: Annotated[float, Field(ge=0, lt=1)]
    gamma: Annotated[float, Field(gt=0)]
    ridge: Annotated[float, Field(gt=0)]
    balance: Annotated[float, Field(ge=0, le=1)]


class ModelsHyperparameters(BaseModel):
    """Each model's; see ``pipeline/defaults.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    c1m1: NetworkHyperparameters
    c1m2: NetworkHyperparameters
    c2m1: NetworkHyperparameters
    tangent: TangentHyperparameters


def trained_in_epochs(name: ModelName) -> bool:
    """Whether a model is trained step by step, from weights that it has at the start; tangent is solved at once."""
    return ModelsHyperparameters.model_fields[name].annotation is NetworkHyperparameters
