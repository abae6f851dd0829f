"""What is known of a training, in the ``training.json`` of its run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec
from tfx.types import Artifact

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json

TRAINING_FILE = "training.json"
VALIDATION_FILE = "validation.parquet"
"""The model's answers to the validation split, see :class:`components.scoring.predictions.Predictions`."""


class TrainingRecord(msgspec.Struct, frozen=True):
    """One model's training.

    Attributes:
        model: its name.
        parameters: trained numbers.
        seconds: wall-clock time of the fit alone.
        seed: of all random draws.
        hyperparameters: by name.
        temperature: what the logits are divided by, fitted on tracks of unknown artists; 1 changes nothing.
        history: values by epoch: ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``; empty for a model that is not
            trained in epochs.
        sure_from: the probability from which an answer is called sure.
        listens: whether it hears tracks through the pretrained network.
        started_from: the folder of the earlier model whose weights it began with; None if it began with random ones.
        learned_from: tracks by split.
        prior_shift: what is added to the logits thereafter, by class index; nothing if empty.
        unseen_accuracy: how often it would be right on the tracks that it learned from, had the artist of each been
            left out, 0..1; None where that would take many trainings.
    """

    model: str
    parameters: int
    seconds: float
    seed: int
    hyperparameters: dict[str, Any]
    temperature: float
    history: dict[str, list[float]]
    sure_from: float = 0.0
    listens: bool = False
    started_from: str | None = None
    learned_from: dict[str, int] = {}
    prior_shift: tuple[float, ...] = ()
    unseen_accuracy: float | None = None

    def save(self, folder: str) -> None:
        """Writes the file into the folder of a model run."""
        write_json(os.path.join(folder, TRAINING_FILE), self)


def run_of(name: str, runs: Iterable[Artifact]) -> str:
    """The folder of that ModelRun artifact whose model has this name."""
    return next(folder for folder in trainings(runs) if load_training(folder).model == name)


def trainings(runs: Iterable[Artifact]) -> list[str]:
    """The folders of those ModelRun artifacts that are of a training; others are of models that were passed over."""
    return [run.uri for run in runs if fileio.exists(os.path.join(run.uri, TRAINING_FILE))]


def load_training(folder: str) -> TrainingRecord:
    """Reads what :meth:`TrainingRecord.save` wrote."""
    return read_json(os.path.join(folder, TRAINING_FILE), TrainingRecord)
