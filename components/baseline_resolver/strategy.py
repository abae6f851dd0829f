"""The latest blessed model that a candidate can be compared with, or that a training can start from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact

from components.damage import damage_of
from components.trainer.description import ModelDescription, has_description, load_description

log = logging.getLogger("deepmusic.BaselineResolver")

Artifacts = dict[str, list[Artifact]]

INPUTS = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT)
"""What ML Metadata calls the reading of an artifact."""

OUTPUTS = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
"""What ML Metadata calls the making of an artifact."""

_MADE_FROM = ("examples", "models")
"""What Trainer makes a model from, and ModelSelector."""


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
            if model.id != candidate.id and has_description(model) and load_description(model).comparable_with(own)
        ]
        resolved = _latest_undamaged(partial(super().resolve_artifacts, store), comparable, input_dict)
        return {**resolved, "candidate": [candidate]} if resolved is not None else None


class WarmStartStrategy(LatestBlessedModelStrategy):
    """Resolves ``model`` and ``model_blessing`` to the latest blessed model that a training can start from.

    It is the same network for the same genres, and was trained on other examples: a run that is repeated starts from
    where it started the first time, and so is taken from the cache.
    """

    def __init__(self, name: str, genres: list[str]) -> None:
        """Asks for a model by its name and its genre list."""
        self._name = name
        self._genres = genres

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See the base class; ``input_dict`` has the further key ``examples``, those to be trained on."""
        (examples,) = input_dict["examples"]
        models = [
            model
            for model in input_dict["model"]
            if has_description(model)
            and self._is_asked_for(load_description(model))
            and examples.id not in _trained_on(store, [model.id])
        ]
        resolved = _latest_undamaged(partial(super().resolve_artifacts, store), models, input_dict)
        return {**resolved, "examples": [examples]} if resolved is not None else None

    def _is_asked_for(self, model: ModelDescription) -> bool:
        return (model.name, model.genres) == (self._name, self._genres)


def _latest_undamaged(
    resolve: Callable[[Artifacts], Artifacts | None], models: list[Artifact], given: Artifacts
) -> Artifacts | None:
    """What TFX's strategy picks among models, none of whose files have changed since they were made."""
    while (found := resolve({"model": models, "model_blessing": given["model_blessing"]})) and found["model"]:
        (latest,) = found["model"]
        fault = damage_of(latest)
        if fault is None:
            break
        log.info("%s; an earlier model is taken", fault)
        models = [model for model in models if model.id != latest.id]
    return found


def _trained_on(store: mlmd.MetadataStore, models: list[int]) -> set[int]:
    """ML Metadata's numbers of the examples that models were made from, be it by way of ModelSelector."""
    if not models:
        return set()
    makers = [event.execution_id for event in store.get_events_by_artifact_ids(models) if event.type in OUTPUTS]
    read = [event for event in store.get_events_by_execution_ids(makers) if event.type in INPUTS] if makers else []
    named = {key: [event.artifact_id for event in read if event.path.steps[0].key == key] for key in _MADE_FROM}
    return {*named["examples"], *_trained_on(store, named["models"])}
