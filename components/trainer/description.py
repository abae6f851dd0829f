"""What a SavedModel says of itself in its ``assets.extra``, which TF Serving leaves alone."""

from __future__ import annotations

import os

import msgspec
from tfx.dsl.io import fileio
from tfx.types import Artifact
from tfx.utils import path_utils

_FILE = os.path.join("assets.extra", "description.json")


class ModelDescription(msgspec.Struct, frozen=True):
    """A model's name, and its genres in the order of the class index."""

    name: str
    genres: list[str]

    def save(self, folder: str) -> None:
        """Writes it into a SavedModel's folder."""
        path = os.path.join(folder, _FILE)
        fileio.makedirs(os.path.dirname(path))
        with fileio.open(path, "wb") as file:
            file.write(msgspec.json.encode(self))


def has_description(model: Artifact) -> bool:
    """Whether a Model artifact's files are there, and are a model of this pipeline."""
    return bool(fileio.exists(_path(model)))


def load_description(model: Artifact) -> ModelDescription:
    """What the SavedModel of a Model artifact says of itself.

    Raises:
        OSError: there is no such file.
        msgspec.DecodeError: it is not what :meth:`ModelDescription.save` writes.
    """
    with fileio.open(_path(model), "rb") as file:
        return msgspec.json.decode(file.read(), type=ModelDescription)


def _path(model: Artifact) -> str:
    return os.path.join(path_utils.serving_model_path(model.uri), _FILE)
