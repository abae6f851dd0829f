"""The genre list that a model was trained on, kept in its ``assets.extra``, which TF Serving leaves alone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from tfx.dsl.io import fileio

_FILE = os.path.join("assets.extra", "genres.json")


def save_genres(model: str, genres: Sequence[str]) -> None:
    """Writes names in the order of the class index into a SavedModel's folder."""
    path = os.path.join(model, _FILE)
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(list(genres)))


def load_genres(model: str) -> list[str] | None:
    """The genre list of the SavedModel in a folder, None where there is no such model."""
    path = os.path.join(model, _FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path) as file:
        return [str(genre) for genre in json.loads(file.read())]
