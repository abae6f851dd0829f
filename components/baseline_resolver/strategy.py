"""The latest blessed model, other than the candidate."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact


class BaselineModelStrategy(LatestBlessedModelStrategy):
    """Resolves ``model`` and ``model_blessing`` to the latest blessed model that is not the ``candidate``.

    TFX's own strategy answers with the candidate itself when a run is repeated. The evaluator's input then differs
    from the first time, its cache misses, and a model is compared with itself.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See the base class; ``input_dict`` has the further key ``candidate``."""
        candidates = input_dict["candidate"]
        ids = {candidate.id for candidate in candidates}
        others = {
            "model": [model for model in input_dict["model"] if model.id not in ids],
            "model_blessing": input_dict["model_blessing"],
        }
        resolved = super().resolve_artifacts(store, others)
        return {**resolved, "candidate": candidates} if resolved is not None else None
