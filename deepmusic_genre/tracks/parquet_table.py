"""Parquet tables of audio analyses, a row a track, as pandas, pyarrow and Spark write them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from deepmusic_genre.tracks import analysis_forms
from deepmusic_genre.tracks.audio_analysis import ANALYSIS_NAME, named, read_found
from deepmusic_genre.tracks.source import require_bounded, seekable
from deepmusic_genre.tracks.streams import require_ratio
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track

_SIGNS = ("segments", "timbre", "analysis")
_PASSED_OVER = analysis_forms.LONG_LISTS - {"segments"}
_UNNAMED_INDEX = "__index_level_0__"
_BUFFER_BYTES = 1 << 20
_BATCH_BYTES = 1 << 24
_VALUE_BYTES = 8
_MAX_ROWS = 256


class ParquetTable:
    """Reads tables with a column ``segments``, or with columns of vectors such as ``timbre`` and ``pitches``.

    A column holds lists of structs, lists of lists or JSON. A row is read as a JSON object of the same content, see
    :mod:`~.analysis_forms`. A table on the local disk may have any size: memory holds some rows of it.
    """

    name = ANALYSIS_NAME
    suffixes = (".parquet",)

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each row's track, or its rejection; see :class:`~.source.Source`."""
        try:
            import pyarrow.parquet as pq
        except ImportError:
            yield Rejection(path, "Parquet needs the package pyarrow: install it")
            return
        try:
            content = seekable(stream)
            size = content.seek(0, 2)
            with pq.ParquetFile(content, buffer_size=_BUFFER_BYTES) as file:
                yield from _read_table(path, file, size)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except Exception as error:
            yield Rejection(path, _not_readable(error))


def _not_readable(error: Exception) -> str:
    """The reason for what pyarrow raises for a damaged file; it has no list of that, and some has several lines."""
    return f"not a readable Parquet file: {' '.join(str(error).split())}"


def _read_table(path: str, file: Any, size: int) -> Iterator[Track | Rejection]:
    names = [name for name in file.schema_arrow.names if name not in _PASSED_OVER]
    if not any(sign in name.casefold() for name in _leaves(file) for sign in _SIGNS):
        raise InvalidTrack(f"it has no column of segments; its columns are {', '.join(names)}")
    metadata = file.metadata
    if not metadata.num_rows:
        raise InvalidTrack("it has no rows")
    unpacked = _unpacked_bytes(metadata)
    require_ratio(unpacked, size)
    rows = min(_MAX_ROWS, max(_BATCH_BYTES * metadata.num_rows // max(unpacked, 1), 1))
    first = 0
    for group in range(metadata.num_row_groups):
        batches = file.iter_batches(rows, row_groups=[group], columns=names, use_threads=False)
        yield from _read_group(path, batches, first)
        first += metadata.row_group(group).num_rows


def _read_group(path: str, batches: Iterator[Any], first: int) -> Iterator[Track | Rejection]:
    number = first
    try:
        for batch in batches:
            for index in range(len(batch)):
                yield from _read_row(batch.slice(index, 1), f"{path}[{number}]")
                number += 1
    except Exception as error:
        yield Rejection(f"{path}[{number}]", f"{_not_readable(error)} (from this row to the end of its group)")


def _leaves(file: Any) -> list[str]:
    return [file.schema.column(index).path for index in range(len(file.schema))]


def _unpacked_bytes(metadata: Any) -> int:
    """At least what the values take in memory: of many that are equal, a file keeps one and how often it comes."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(max(column.total_uncompressed_size, column.num_values * _VALUE_BYTES) for column in columns)


def _read_row(row: Any, place: str) -> Iterator[Track | Rejection]:
    track_id = ""
    try:
        require_bounded(row.nbytes)
        fields = {name: _values(column)[0] for name, column in zip(row.schema.names, row.columns, strict=True)}
        index = fields.pop(_UNNAMED_INDEX, None)
        value = {"track_id": index} if isinstance(index, str) else {}
        value |= {name: of for name, of in fields.items() if of is not None}
        track_id = analysis_forms.facts_of(value).get("track_id", "")
        for item in read_found(analysis_forms.find(value), place):
            yield named(item, place) if isinstance(item, Track) else item
    except InvalidTrack as error:
        yield Rejection(place, str(error), track_id)


def _values(array: Any) -> list[Any]:
    """The values of an Arrow array; those of nested ones in a tenth of the time that Arrow's own method takes."""
    import pyarrow.types as kinds

    if array.null_count or kinds.is_map(array.type):
        values: list[Any] = array.to_pylist()
    elif kinds.is_list(array.type) or kinds.is_large_list(array.type):
        flat, ends = _values(array.flatten()), array.value_lengths().to_numpy().cumsum().tolist()
        values = [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    elif kinds.is_struct(array.type):
        names = [field.name for field in array.type]
        values = [dict(zip(names, each, strict=True)) for each in zip(*map(_values, array.flatten()), strict=True)]
    elif kinds.is_floating(array.type):
        values = array.to_numpy(zero_copy_only=False).tolist()
    else:
        values = array.to_pylist()
    return values
