"""A pushed model, and its answers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.scoring.saved_model import run_signature, serving_session
from components.storage.files import fileio
from components.track_example_gen.catalogue import FILE_ERRORS
from components.trainer.description import read_description
from components.trainer.export import EXAMPLES_SIGNATURE
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.examples import encode_segments
from deepmusic_genre.tracks.track import Track

_FINGERPRINT = "fingerprint.pb"


class PushedModel(msgspec.Struct, frozen=True):
    """Which model it is.

    Attributes:
        name: the model's.
        version: the number it was pushed under.
        genres: names in the order of the class index.
        analysers: whose segments it compares.
        listens: whether it answers sound alone.
        fingerprint: of this SavedModel and no other.
    """

    name: str
    version: int
    genres: tuple[str, ...]
    analysers: tuple[str, ...]
    fingerprint: str
    listens: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def identify(folder: str) -> PushedModel:
    """Says which model a version's folder holds.

    Raises:
        PipelineInputError: none of this pipeline.
    """
    try:
        description = read_description(folder)
        with fileio.open(os.path.join(folder, _FINGERPRINT), "rb") as file:
            fingerprint = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
    except (*FILE_ERRORS, msgspec.DecodeError) as error:
        raise PipelineInputError(f"{folder} is no whole model of this pipeline: {error}.") from error
    version = int(os.path.basename(folder))
    genres = tuple(description.genres)
    return PushedModel(description.name, version, genres, description.analysers, fingerprint, description.listens)


class Unanswerable(Exception):
    """A model has no answer to a batch of tracks."""


class LoadedModel:
    """A SavedModel as TF Serving loads it, for as long as the object lives."""

    def __init__(self, folder: str) -> None:
        """Loads it.

        Raises:
            PipelineInputError: it does not load.
        """
        self._open = ExitStack()
        try:
            self._session, signatures = self._open.enter_context(serving_session(folder))
            self._signature = signatures[EXAMPLES_SIGNATURE]
        except (*FILE_ERRORS, ValueError, RuntimeError, KeyError) as error:
            raise PipelineInputError(f"The model in {folder} does not load: {error}") from error

    def answer(self, tracks: Sequence[Track]) -> dict[str, npt.NDArray[Any]]:
        """The signature's outputs by name, a row a track.

        Raises:
            Unanswerable: one of the tracks, at least, is nothing that the model can compute with.
        """
        examples = [encode_segments(track.segments, track.ear) for track in tracks]
        try:
            outputs = run_signature(self._session, self._signature, {"examples": examples})
        except tf.errors.InvalidArgumentError as error:
            raise Unanswerable("its values are none that the model can compute with") from error
        if not np.isfinite(outputs["probabilities"]).all():
            raise Unanswerable("a probability is no number")
        return outputs
