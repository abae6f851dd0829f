"""What a model has to reach; can be had without importing TFX."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, 0..1."""

Drop = Annotated[float, Field(ge=-1, le=1)]
"""How far a score may fall; below zero, how far it has to rise."""


class Limits(BaseModel):
    """What a model has to reach; see ``pipeline/defaults.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    min_accuracy: Share
    min_macro_f1: Share
    min_genre_f1: dict[str, Share]
    max_accuracy_drop: Drop
    max_macro_f1_drop: Drop
    max_genre_f1_drop: Share
