"""The file of ``deepmusic predict --out``: what it holds already, so that the same call resumes there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from deepmusic_genre.client.output import FIRST_COLUMNS, LAST_COLUMNS


class UnusableFile(Exception):
    """A file that this call cannot resume; the message says why."""


@dataclass(frozen=True)
class Earlier:
    """What an earlier call wrote.

    Attributes:
        tracks: Files and ids of the tracks that have an answer.
        files: Files whose tracks have all been read: those before the last answer's.
        version: Version of the model that answered; None without an answer.
        columns: Names of a CSV file's columns, None where there are none.
        size: Bytes of all whole rows; behind them may be one that was not written to its end.
    """

    tracks: frozenset[tuple[str, str]] = frozenset()
    files: frozenset[str] = frozenset()
    version: int | None = None
    columns: list[str] | None = None
    size: int = 0


class _Row(msgspec.Struct):
    track_id: str
    model_version: int
    file: str


def read_earlier(path: Path, form: str) -> Earlier:
    """Reads what is there.

    Args:
        path: The file, which need not be there.
        form: ``csv`` or ``jsonl``.

    Raises:
        UnusableFile: it holds something else, or the answers of several versions.
        OSError: it cannot be read.
    """
    if not path.exists() or not path.stat().st_size:
        return Earlier()
    columns = None
    tracks, versions, last, size = set(), set(), "", 0
    try:
        with path.open("rb") as stream:
            if form == "csv":
                rows = _csv_rows(stream)
                columns, size = next(rows)
                found = _by_name(rows, columns)
            else:
                found = ((msgspec.json.decode(line, type=_Row), end) for line, end in _whole_lines(stream))
            for row, end in found:
                tracks.add((row.file, row.track_id))
                versions.add(row.model_version)
                last, size = row.file, end
        if len(versions) > 1:
            raise ValueError("several versions gave them")
        if not size:
            raise ValueError("no whole line is there")
    except (ValueError, csv.Error, StopIteration) as error:
        raise UnusableFile(f"{path} does not hold answers as {form} ({error}): choose another file.") from error
    files = frozenset(file for file, _ in tracks if file != last)
    return Earlier(frozenset(tracks), files, next(iter(versions), None), columns, size)


def open_answers(path: Path, earlier: Earlier) -> io.TextIOWrapper:
    """Opens the file for further rows."""
    stream = path.open("r+b" if earlier.size else "wb")
    stream.truncate(earlier.size)
    stream.seek(earlier.size)
    return io.TextIOWrapper(stream, encoding="utf-8", newline="")


def _whole_lines(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Lines that were written to their end, and where that is."""
    end = 0
    for line in stream:
        if line.endswith(b"\n"):
            end += len(line)
            yield line, end


def _csv_rows(stream: BinaryIO) -> Iterator[tuple[list[str], int]]:
    end = 0

    def lines() -> Iterator[str]:
        nonlocal end
        for line, end in _whole_lines(stream):  # noqa: B007 - the row's, which may have several lines
            yield line.decode()

    for values in csv.reader(lines()):
        yield values, end


def _by_name(rows: Iterator[tuple[list[str], int]], columns: list[str]) -> Iterator[tuple[_Row, int]]:
    if columns[: len(FIRST_COLUMNS)] != FIRST_COLUMNS or columns[-len(LAST_COLUMNS) :] != LAST_COLUMNS:
        raise ValueError(f"its columns are not {', '.join(FIRST_COLUMNS)}, …, {', '.join(LAST_COLUMNS)}")
    for values, end in rows:
        if len(values) == len(columns):
            yield msgspec.convert(dict(zip(columns, values, strict=True)), _Row, strict=False), end
        elif next(rows, None):  # Only the last may have been cut off.
            raise ValueError(f"a row has {len(values)} columns instead of {len(columns)}")
