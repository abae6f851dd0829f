"""A model's answers to a split's tracks, as a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from components.scoring.scores import Confusion, Indices, confusion_matrix
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.track import FACTS

_ARROW_TYPES = {str: pa.string(), float: pa.float32(), int: pa.int64()}

TRACK_COLUMNS = {
    **{name: _ARROW_TYPES[of_type] for name, of_type in FACTS.items()},
    **dict.fromkeys(AUDIO_FEATURES, pa.float32()),
}
"""What is kept of a track; where unknown, a text is empty, a duration, in seconds, and an audio feature are null."""

_PROBABILITIES = "probabilities"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of one model.

    Attributes:
        genres: names in the order of the class index.
        tracks: a row a track, with ``TRACK_COLUMNS``.
        probabilities: float32 ``[tracks, genres]``.
    """

    genres: tuple[str, ...]
    tracks: pa.Table
    probabilities: npt.NDArray[np.float32]

    @property
    def actual(self) -> Indices:
        """Class indices of the tracks' genres."""
        index = {genre: number for number, genre in enumerate(self.genres)}
        return np.array([index[genre] for genre in self.tracks["genre"].to_pylist()], np.int64)

    @property
    def predicted(self) -> Indices:
        """Class indices of the most probable genres."""
        return self.probabilities.argmax(axis=1).astype(np.int64)

    @property
    def answered(self) -> Predictions:
        """Those that are numbers: a model that listens has none for a track without sound."""
        return self._of(np.isfinite(self.probabilities).all(axis=1))

    def only(self, kept: Collection[str]) -> Predictions:
        """The answers to the tracks with these ids."""
        return self._of(np.array([track_id in kept for track_id in self.tracks["track_id"].to_pylist()], bool))

    def _of(self, rows: npt.NDArray[np.bool_]) -> Predictions:
        return Predictions(self.genres, self.tracks.filter(pa.array(rows)), self.probabilities[rows])

    @property
    def confusion(self) -> Confusion:
        """Tracks by genre ``[actual, predicted]``."""
        return confusion_matrix(self.actual, self.predicted, len(self.genres))

    def save(self, path: str) -> None:
        """Writes a Parquet file: the tracks' columns, and ``probabilities`` with the genres' names in its fields."""
        columns = [pa.array(column) for column in self.probabilities.T]
        table = self.tracks.append_column(_PROBABILITIES, pa.StructArray.from_arrays(columns, list(self.genres)))
        from components.storage.files import (
            fileio,  # TFX takes seconds to import, and reading needs it for remote files only.
        )

        content = io.BytesIO()
        pq.write_table(table, content)
        with fileio.open(path, "wb") as file:
            file.write(content.getvalue())


def require_finite(probabilities: npt.NDArray[np.float32], model: str) -> npt.NDArray[np.float32]:
    """The probabilities themselves.

    Raises:
        PipelineInputError: one of them is no number; the highest of such a row would be taken for the first genre.
    """
    wrong = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if wrong:
        raise PipelineInputError(
            f"{model} answers {wrong:,} of {len(probabilities):,} tracks with no number: nothing goes on with it."
        )
    return probabilities


def load_predictions(path: str) -> Predictions:
    """Reads what :meth:`Predictions.save` wrote."""
    from components.storage.files import fileio

    with fileio.open(path, "rb") as file:
        return decode_predictions(file.read())


def decode_predictions(content: bytes) -> Predictions:
    """Reads the content of a file that :meth:`Predictions.save` wrote."""
    table = pq.read_table(io.BytesIO(content))
    struct = table[_PROBABILITIES].combine_chunks()
    genres = tuple(field.name for field in struct.type)
    probabilities = np.stack([column.to_numpy(zero_copy_only=False) for column in struct.flatten()], axis=1)
    return Predictions(genres, table.drop([_PROBABILITIES]), probabilities)
