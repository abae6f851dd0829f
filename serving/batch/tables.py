"""Answers as tables: a shard's, and the whole catalogue's."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from components.storage.files import fileio
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.track import Rejection, Track
from serving.batch.folder import CSV_FILE, JSON_FILE, PARQUET_FILE, REJECTIONS_FILE, playlist_file
from serving.batch.model import PushedModel
from serving.batch.writers import JsonLinesWriter, PlaylistWriter

_TEXTS = ("track_id", "artist_id", "artist", "title")
_REASON = "reason"
_ROWS_A_GROUP = 1 << 16


def answer_schema(genres: Sequence[str]) -> pa.Schema:
    """Columns of the answers; a text is empty where it is unknown.

    ``probability`` is that of ``genre``; each genre's own is in a column ``probability_<genre>``. ``sure`` and
    ``familiarity`` are empty where the model does not tell. ``notes`` is what was amiss with a sound file that was read
    all the same.
    """
    return pa.schema(
        [
            *((name, pa.string()) for name in (*_TEXTS, "genre")),
            ("probability", pa.float32()),
            *((f"probability_{genre}", pa.float32()) for genre in genres),
            ("sure", pa.bool_()),
            ("familiarity", pa.float32()),
            ("model", pa.string()),
            ("model_version", pa.int64()),
            ("file", pa.string()),
            ("notes", pa.string()),
        ]
    )


def answer_table(
    items: Sequence[tuple[str, Track]], answers: Mapping[str, npt.NDArray[Any]], model: PushedModel
) -> pa.Table:
    """A row a track, with the columns of :func:`answer_schema`.

    Args:
        items: files, and their tracks.
        answers: the model's outputs by name, a row a track.
        model: which one answered.
    """
    tracks = [track for _, track in items]
    nothing = [None] * len(tracks)
    columns = [
        *([getattr(track, name) for track in tracks] for name in _TEXTS),
        [genre.decode() for genre in answers["genre"].tolist()],
        answers["probability"],
        *answers["probabilities"].T,
        *(answers.get(name, nothing) for name in ("sure", "familiarity")),
        [model.name] * len(tracks),
        [model.version] * len(tracks),
        [path for path, _ in items],
        ["; ".join(track.notes) for track in tracks],
    ]
    schema = answer_schema(model.genres)
    arrays = [pa.array(column, of_type) for column, of_type in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def part_table(answers: Iterable[pa.Table], rejections: Sequence[Rejection], schema: pa.Schema) -> pa.Table:
    """Answers and rejections in one table, so that a shard's file has both or is not there."""
    reasons = schema.append(pa.field(_REASON, pa.string()))
    known = {
        "track_id": [item.track_id for item in rejections],
        "file": [item.path for item in rejections],
        _REASON: [item.reason for item in rejections],
    }
    nothing = [None] * len(rejections)
    rejected = [pa.array(known.get(field.name, nothing), field.type) for field in reasons]
    return pa.concat_tables(
        [
            *(table.append_column(reasons.field(_REASON), pa.nulls(len(table), pa.string())) for table in answers),
            pa.Table.from_arrays(rejected, schema=reasons),
        ]
    )


def write_part(path: str, table: pa.Table) -> None:
    """Writes a table of :func:`part_table`."""
    with fileio.open(path, "wb") as file:
        pq.write_table(table, _Sink(file))


@dataclass(frozen=True)
class Counts:
    """Tracks that were tagged by genre, and how many tracks and files were left out."""

    genres: dict[str, int]
    rejected: int

    @property
    def tracks(self) -> int:
        """How many were tagged."""
        return sum(self.genres.values())


def join_parts(
    parts: Iterable[str], genres: Sequence[str], to: Mapping[str, str], unread: Sequence[Rejection] = ()
) -> Counts:
    """Writes all shards' answers in every form that is asked for, and their rejections as JSON lines.

    Parts are read one after the other, so that memory does not grow with the catalogue.

    Args:
        parts: files of :func:`part_table`.
        genres: names in the order of the class index.
        to: the files to write by their names, see :func:`serving.batch.folder.answer_files`.
        unread: rejections that are in no part.

    Raises:
        PipelineInputError: a part is damaged.
    """
    schema = answer_schema(genres)
    counts = dict.fromkeys(genres, 0)
    rejected = len(unread)
    with ExitStack() as stack:
        files = {name: stack.enter_context(fileio.open(path, "wb")) for name, path in to.items()}
        rejections = files[REJECTIONS_FILE]
        rejections.write(b"")  # TensorFlow makes a file when it is first written to.
        for item in unread:
            rejections.write(msgspec.json.encode(item) + b"\n")
        playlists = {genre: files[name] for genre in genres if (name := playlist_file(genre)) in files}
        writers = (
            stack.enter_context(pq.ParquetWriter(_Sink(files[PARQUET_FILE]), schema)),
            stack.enter_context(pyarrow.csv.CSVWriter(_Sink(files[CSV_FILE]), schema)),
            *([JsonLinesWriter(files[JSON_FILE], genres)] if JSON_FILE in files else []),
            PlaylistWriter(playlists),
        )
        for table in _grouped(map(_read_part, parts)):
            tagged = pc.is_null(table[_REASON])
            answers = table.filter(tagged).select(schema.names)
            for writer in writers:
                writer.write_table(answers)
            for genre, count in Counter(answers["genre"].to_pylist()).items():
                counts[genre] += count
            for item in _rejections(table.filter(pc.invert(tagged))):
                rejections.write(msgspec.json.encode(item) + b"\n")
                rejected += 1
    return Counts(counts, rejected)


def _read_part(path: str) -> pa.Table:
    try:
        with fileio.open(path, "rb") as file:
            return pq.read_table(io.BytesIO(file.read()))
    except pa.ArrowInvalid as error:
        raise PipelineInputError(f"{path} is damaged ({error}): remove it, and the next call makes it anew.") from error


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Fewer and larger tables, whose rows make good row groups."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= _ROWS_A_GROUP:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _rejections(table: pa.Table) -> Iterator[Rejection]:
    for row in table.select(["file", _REASON, "track_id"]).to_pylist():
        yield Rejection(row["file"], row[_REASON], row["track_id"])


class _Sink(io.RawIOBase):
    """What pyarrow can write to: TensorFlow's files lack what it asks a Python file for."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def write(self, content: Any) -> int:
        self._file.write(bytes(content))
        return len(content)
