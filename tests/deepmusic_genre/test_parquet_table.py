"""Tests of reading Parquet tables of analyses."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, durations_of, segments_of

pytestmark = pytest.mark.fast

NAME = "folder/a.parquet"


def _written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _items(content: bytes | Any) -> list[Track | Rejection]:
    return list(read(NAME, io.BytesIO(content if isinstance(content, bytes) else _written(content))))


def _tracks(content: bytes | Any) -> list[Track]:
    items = _items(content)
    assert all(isinstance(item, Track) for item in items), items
    return [item for item in items if isinstance(item, Track)]


def _reason(content: bytes | Any) -> str:
    (item,) = _items(content)
    assert isinstance(item, Rejection), item
    return item.reason


def _rows(count: int = 3) -> list[dict[str, Any]]:
    """Rows with lists of structs."""
    facts = [{"track_id": f"T{seed}", "genre": "Jazz", "artist": "Ann", "n": seed} for seed in range(count)]
    return [{**analysis(seed, 20 + seed), **fact} for seed, fact in enumerate(facts)]


def _with_vectors(start: str, timbre: str, pitches: str) -> list[dict[str, Any]]:
    """The same rows with a list of lists for each of what segments hold."""
    names = {start: "start", timbre: "timbre", pitches: "pitches"}
    return [
        {
            **{name: row[name] for name in ("track_id", "genre", "artist")},
            **{name: [segment[of] for segment in row["segments"]] for name, of in names.items()},
        }
        for row in _rows()
    ]


def _check(tracks: list[Track]) -> None:
    for track, row in zip(tracks, _rows(), strict=True):
        np.testing.assert_array_equal(track.segments, segments_of(row))
        starts = [segment["start"] for segment in row["segments"]]
        assert np.cumsum(durations_of(track))[:-1] == pytest.approx(starts[1:], abs=1e-4)
        assert (track.track_id, track.genre, track.artist) == (row["track_id"], "Jazz", "Ann")


def test_columns_of_structs_are_read() -> None:
    tracks = _tracks(pa.Table.from_pylist(_rows()))
    _check(tracks)
    assert [track.path for track in tracks] == [f"{NAME}[{number}]" for number in range(3)]
    assert [track.duration for track in tracks] == [row["track"]["duration"] for row in _rows()]


@pytest.mark.parametrize(
    "names", [("start", "timbre", "pitches"), ("segments_start", "segments_timbre", "segments_pitches")]
)
def test_columns_of_vectors_are_read(names: tuple[str, str, str]) -> None:
    _check(_tracks(pa.Table.from_pylist(_with_vectors(*names))))


def test_vectors_of_a_fixed_length_and_of_other_precision_are_read() -> None:
    table = pa.Table.from_pylist(_with_vectors("starts", "timbre", "pitches"))
    vectors = pa.list_(pa.list_(pa.float32(), 12))
    for name in ("timbre", "pitches"):
        fixed = pa.array([[np.float32(each).tolist() for each in row] for row in table[name].to_pylist()], vectors)
        table = table.set_column(table.schema.get_field_index(name), name, fixed)
    _check(_tracks(table))
    _check(_tracks(table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))))


def test_tables_of_pandas_are_read_and_an_index_of_texts_names_the_tracks() -> None:
    rows = _rows()
    frame = pd.DataFrame(rows)
    for table in (frame, frame.set_index("track_id"), frame.set_index("track_id").rename_axis(None)):
        sink = io.BytesIO()
        table.to_parquet(sink)
        _check(_tracks(sink.getvalue()))


def test_json_in_a_column_is_read() -> None:
    rows = [
        {"track_id": row["track_id"], "genre": "Jazz", "artist": "Ann", "analysis": json.dumps(row)} for row in _rows()
    ]
    _check(_tracks(pa.Table.from_pylist(rows)))


def test_several_genres_of_a_row_are_read() -> None:
    rows = [{**row, "genre": ["Jazz", "Blues"]} for row in _rows()]
    assert [(track.genre, track.other_genres) for track in _tracks(pa.Table.from_pylist(rows))] == [
        ("Jazz", ("Blues",))
    ] * 3


@pytest.mark.parametrize("row_group_size", [1, 2, 100])
def test_bad_row_is_rejected_by_its_place_and_id(row_group_size: int) -> None:
    rows = _rows(4)
    rows[1]["segments"][2]["pitches"][3] = 7.0
    rows[2]["segments"] = None
    content = _written(pa.Table.from_pylist(rows), row_group_size=row_group_size)
    items = _items(content)
    assert [isinstance(item, Track) for item in items] == [True, False, False, True]
    assert [(item.path, item.track_id) for item in items[1:3]] == [(f"{NAME}[1]", "T1"), (f"{NAME}[2]", "T2")]
    reasons = [item.reason for item in items if isinstance(item, Rejection)]
    assert reasons[0] == "segments[2].pitches[3] = 7 is outside [0, 1]"
    assert "no segments" in reasons[1]


def test_row_without_an_id_is_called_by_its_content() -> None:
    rows = [{"segments": row["segments"]} for row in _rows()]
    assert [track.track_id for track in _tracks(pa.Table.from_pylist(rows))] == [
        track.content_digest() for track in _tracks(pa.Table.from_pylist(rows))
    ]


def test_other_tables_are_named_once() -> None:
    reason = _reason(pa.table({"track_id": ["A", "B"], "danceability": [0.1, 0.2]}))
    assert reason == "it has no column of segments; its columns are track_id, danceability"
    assert _reason(pa.Table.from_pylist(_rows()).slice(0, 0)) == "it has no rows"


@pytest.mark.parametrize("left", [0, 4, 100, -1, -20])
def test_file_that_is_cut_off_is_rejected(left: int) -> None:
    content = _written(pa.Table.from_pylist(_rows()))
    assert "not a readable Parquet file" in _reason(content[:left])


def test_damaged_page_costs_its_row_group() -> None:
    content = bytearray(_written(pa.Table.from_pylist(_rows()), row_group_size=1, compression="zstd"))
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(1)
    columns = [group.column(index) for index in range(group.num_columns)]
    (page,) = [column.data_page_offset for column in columns if "timbre" in column.path_in_schema]
    content[page : page + 40] = bytes(40)
    items = _items(bytes(content))
    assert [isinstance(item, Track) for item in items] == [True, False, True]
    assert isinstance(items[1], Rejection)
    assert items[1].path == f"{NAME}[1]"
    assert re.fullmatch(r"not a readable Parquet file: .* \(from this row to the end of its group\)", items[1].reason)


def test_value_that_is_kept_once_and_comes_a_billion_times_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1 << 20)
    bomb = pa.array([[[0.5] * 12] * 200_000], pa.list_(pa.list_(pa.float32())))
    assert "decompression bomb" in _reason(pa.table({"timbre": bomb, "pitches": bomb}))


def test_row_that_is_too_large_is_rejected_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([*_rows(2), analysis(7, 2000)]), path)
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 100_000)
    with path.open("rb") as stream:
        assert [isinstance(item, Track) for item in read(str(path), stream)] == [True, True, False]


def test_table_in_an_archive_is_read() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("Jazz/a.parquet", _written(pa.Table.from_pylist(_rows())))
    assert len(list(read("a.zip", io.BytesIO(sink.getvalue())))) == 3


def test_memory_does_not_grow_with_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.parquet_table._BATCH_BYTES", 1 << 16)
    path, rows = tmp_path / "a.parquet", pa.Table.from_pylist(_rows(16))
    taken = []
    for repetitions in (4, 32):
        pq.write_table(pa.concat_tables([rows] * repetitions), path, data_page_size=1 << 12)
        before = pa.total_allocated_bytes()
        with path.open("rb") as stream:
            taken.append(max(pa.total_allocated_bytes() for _ in read(str(path), stream)) - before)
    assert taken[1] < 2 * taken[0]
