"""The latest blessed model that a candidate can be compared with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact

from components.trainer.description import ModelDescription, has_description, load_description


class BaselineModelStrategy(LatestBlessedModelStrategy):
    """Resolves ``model`` and ``model_blessing`` to the latest blessed model comparable with the ``candidate``.

    TFX's own strategy answers with the candidate itself when a run is repeated: the evaluator's input then differs from
    the first time, its cache misses, and a model is compared with itself. Nor does it see that a model has another
    genre list or learned from other analysers, or that its files were removed.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See the base class; ``input_dict`` has the further key ``candidate``."""
        (candidate,) = input_dict["candidate"]
        own = load_description(candidate)
        comparable = [
            model
            for model in input_dict["model"]
            if model.id != candidate.id and has_description(model) and _comparable(load_description(model), own)
        ]
        others = {"model": comparable, "model_blessing": input_dict["model_blessing"]}
        resolved = super().resolve_artifacts(store, others)
        return {**resolved, "candidate": [candidate]} if resolved is not None else None


def _comparable(one: ModelDescription, other: ModelDescription) -> bool:
    return (one.genres, one.analysers) == (other.genres, other.analysers)
