"""What a SavedModel says of itself in its ``assets.extra``, which TF Serving leaves alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import msgspec
from tfx.types import Artifact
from tfx.utils import io_utils, path_utils

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json
from deepmusic_genre.tracks.track import ECHO_NEST

_EXTRA = "assets.extra"
_FILE = os.path.join(_EXTRA, "description.json")
_TRAINED_ON = os.path.join(_EXTRA, "trained_on")
_EVALUATED = os.path.join(_EXTRA, "evaluated")
_HASH_BYTES = 8


class ModelDescription(msgspec.Struct, frozen=True):
    """What a model is.

    Attributes:
        genres: in the order of the class index.
        analysers: of its training tracks, sorted. Those of any other cannot be compared with them, and the model's
            answers to such tracks mean nothing.
        listens: whether it reads :attr:`deepmusic_genre.tracks.track.Track.ear`; it has no answer to a track without.
    """

    name: str
    genres: list[str]
    # Models that do not say it are older than any other analyser.
    analysers: tuple[str, ...] = (ECHO_NEST,)
    listens: bool = False

    def comparable_with(self, other: ModelDescription) -> bool:
        """Whether both models' answers to a track mean the same: their genre lists and analysers are equal."""
        return (self.genres, self.analysers) == (other.genres, other.analysers)

    def save(self, folder: str, trained_on: Iterable[str], earlier: Iterable[bytes] = ()) -> None:
        """Writes it into a SavedModel's folder, with the hashes of the training tracks' ids.

        Args:
            folder: the SavedModel's.
            trained_on: the ids.
            earlier: hashes of further ones, which the model that the training started from was trained on.
        """
        fileio.makedirs(os.path.join(folder, _EXTRA))
        write_json(os.path.join(folder, _FILE), self)
        with fileio.open(os.path.join(folder, _TRAINED_ON), "wb") as file:
            file.write(b"".join(sorted({*map(track_hash, trained_on), *earlier})))


def has_description(model: Artifact) -> bool:
    """Whether a Model artifact's files are there, and are a model of this pipeline; not one that was passed over."""
    return is_described(path_utils.serving_model_path(model.uri))


def is_described(folder: str) -> bool:
    """Whether a folder holds a SavedModel of this pipeline."""
    return bool(fileio.exists(os.path.join(folder, _FILE)))


def load_description(model: Artifact) -> ModelDescription:
    """What the SavedModel of a Model artifact says of itself; see :func:`read_description`."""
    return read_description(path_utils.serving_model_path(model.uri))


def read_description(folder: str) -> ModelDescription:
    """What the SavedModel in a folder says of itself.

    Raises:
        OSError, tf.errors.OpError: there is no such file.
        msgspec.DecodeError: it is not what :meth:`ModelDescription.save` writes.
    """
    return read_json(os.path.join(folder, _FILE), ModelDescription)


def enclose_evaluated(evaluated: str, folder: str) -> None:
    """Puts the SavedModel that was evaluated into that of the model which then learned from every track."""
    io_utils.copy_dir(evaluated, os.path.join(folder, _EVALUATED))


def evaluated_in(folder: str) -> str:
    """The folder of the model that was evaluated before the one in a folder was pushed: inside, or the same."""
    enclosed = os.path.join(folder, _EVALUATED)
    return enclosed if is_described(enclosed) else folder


def not_trained_on(model: Artifact, track_ids: Iterable[str]) -> set[str]:
    """Those of the tracks that the model was not trained on."""
    known = trained_on(path_utils.serving_model_path(model.uri))
    return {track_id for track_id in track_ids if track_hash(track_id) not in known}


def trained_on(folder: str) -> set[bytes]:
    """The hashes of the ids of the tracks that the SavedModel in a folder was trained on, see :func:`track_hash`."""
    with fileio.open(os.path.join(folder, _TRAINED_ON), "rb") as file:
        content = file.read()
    return {content[start : start + _HASH_BYTES] for start in range(0, len(content), _HASH_BYTES)}


def track_hash(track_id: str) -> bytes:
    """What a model remembers of a training track's id."""
    return hashlib.blake2b(track_id.encode(), digest_size=_HASH_BYTES).digest()
