"""Reads the answers that ``deepmusic tag`` and ``deepmusic predict --out`` have written, in any of their forms."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from deepmusic_genre.client.output import FIRST_COLUMNS, LAST_COLUMNS
from deepmusic_genre.errors import PipelineInputError

BULK_FILE = "predictions.csv"
"""What is read of a folder."""

_PREFIX = "probability_"
_SURE = {"true": True, "false": False, "": None}
_MAX_CELL = 1 << 20


class GivenAnswer(msgspec.Struct, frozen=True):
    """What a model has said of a track.

    Attributes:
        file: Where the track was read.
        probabilities: By genre.
        sure: None where the model does not tell.
        artist, title: Empty where unknown.
    """

    track_id: str
    genre: str
    file: str
    probabilities: dict[str, float]
    sure: bool | None = None
    artist: str = ""
    title: str = ""


def read_answers(path: Path) -> Iterator[GivenAnswer]:
    """Reads answers one after the other.

    Args:
        path: A file of them, ``.csv``, ``.jsonl`` or ``.parquet``, or the folder of ``deepmusic tag``.

    Raises:
        PipelineInputError: It holds something else, or cannot be read.
    """
    file = path / BULK_FILE if path.is_dir() else path
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise PipelineInputError(f"{path} does not end in {', '.join(_READERS)}: name the answers of tag or predict.")
    try:
        yield from reader(file)
    except OSError as error:
        raise PipelineInputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise PipelineInputError(f"{file} does not hold answers of deepmusic tag or predict: {error}.") from error


def _from_csv(path: Path) -> Iterator[GivenAnswer]:
    csv.field_size_limit(_MAX_CELL)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        columns = _genre_columns(reader.fieldnames or [])
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has other columns than the first line")
            yield _answer(row, columns, f"line {reader.line_num}")


def _genre_columns(names: Any) -> dict[str, str]:
    """The columns of probabilities, and their genres: ``tag`` and ``predict`` call them differently."""
    missing = [name for name in (*FIRST_COLUMNS, "sure", "file") if name not in names]
    if missing:
        raise ValueError(f"it has no column {' and '.join(missing)}")
    if names[-len(LAST_COLUMNS) :] == LAST_COLUMNS:
        return {name: name for name in names[len(FIRST_COLUMNS) : -len(LAST_COLUMNS)]}
    return {name: name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}


def _from_json_lines(path: Path) -> Iterator[GivenAnswer]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield msgspec.json.decode(line, type=GivenAnswer)
            except msgspec.DecodeError as error:
                raise ValueError(f"line {number}: {error}") from error


def _from_parquet(path: Path) -> Iterator[GivenAnswer]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise PipelineInputError(f"{path}: Parquet needs the package pyarrow; take the CSV instead.") from error
    with parquet.ParquetFile(path) as file:
        columns = _genre_columns(file.schema_arrow.names)
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                yield _answer(row, columns, "a row")


def _answer(row: Mapping[str, Any], columns: Mapping[str, str], place: str) -> GivenAnswer:
    try:
        sure = row["sure"] if isinstance(row["sure"], bool | None) else _SURE[row["sure"].strip().lower()]
        probabilities = {genre: float(row[column]) for column, genre in columns.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{place}: {error} is none of its values") from error
    texts = (row["track_id"], row["genre"], row["file"])
    return GivenAnswer(*texts, probabilities, sure, row["artist"] or "", row["title"] or "")


_READERS: dict[str, Callable[[Path], Iterator[GivenAnswer]]] = {
    ".csv": _from_csv,
    ".jsonl": _from_json_lines,
    ".parquet": _from_parquet,
}
