"""Which of several candidates goes on, judged by the validation split alone."""

from __future__ import annotations

import os

import msgspec

from components.artifacts import ModelSelection
from components.storage.json_files import read_json, write_json


class Candidate(msgspec.Struct, frozen=True):
    """A trained model and its scores on the validation split, 0..1."""

    model: str
    accuracy: float
    macro_f1: float


class Selection(msgspec.Struct, frozen=True):
    """The candidates in the order of the settings, and the name of the best."""

    selected: str
    candidates: list[Candidate]

    def save(self, folder: str) -> None:
        """Writes the file into an artifact's folder."""
        write_json(os.path.join(folder, ModelSelection.FILE), self)


def load_selection(folder: str) -> Selection:
    """Reads what :meth:`Selection.save` wrote."""
    return read_json(os.path.join(folder, ModelSelection.FILE), Selection)


def select(candidates: list[Candidate]) -> Selection:
    """Takes the highest macro F1; of equal ones the first.

    Macro F1, because accuracy would reward a model for never answering a rare genre.
    """
    best = max(candidates, key=lambda candidate: candidate.macro_f1)
    return Selection(best.model, candidates)
