"""What can be chosen of a model, and what a search tries; can be had without importing Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Balance = Literal["none", "class_weights", "balanced_batches"]
"""How training makes up for rare genres: not; each track weighted by the inverse of its genre's share; or each genre
drawn equally often."""


@dataclass(frozen=True)
class Range:
    """Numbers that a search draws from.

    Attributes:
        low, high: The smallest and the largest.
        log: Whether it draws evenly over the logarithm.
    """

    low: float
    high: float
    log: bool = False


SearchSpace = Mapping[str, Range | tuple[int, ...]]
"""By hyper-parameter, the range or the values that a search tries."""


class NetworkHyperparameters(BaseModel):
    """What can be chosen of one of the original project's networks; see ``pipeline/defaults.yaml``."""

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


class EarHyperparameters(TangentHyperparameters):
    """What can be chosen of ``ear``; see ``pipeline/defaults.yaml``."""

    ear_share: Annotated[float, Field(ge=0, le=1)]
