"""Tables of labels as spreadsheets and data sets write them: their text, separators and names of columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

_COLUMNS = {
    "genre": ("genre", "genretop", "trackgenretop", "trackgenre", "label"),
    "track_id": ("trackid", "trackuri"),
    "file": ("file", "filename", "filepath", "path"),
    "artist_id": ("artistid",),
    "artist": ("artist", "artistname", "artists"),
    "title": ("title", "tracktitle", "trackname"),
}
"""What columns are called, without blanks, underscores and case; the first that is there is taken."""

LabelField = Literal["track", "genre", "artist_id", "artist", "title"]
"""What a column of a table may be said to hold; a track is named by its id or its file."""

_SEPARATORS = ",;\t"


class InvalidLabels(ValueError):
    """A labels file that cannot be used; its message is shown to the user."""


def decode(content: bytes, name: str) -> str:
    """A labels file's text: UTF-8, UTF-16 with a byte-order mark, or else Windows-1252, which Excel writes.

    Raises:
        InvalidLabels: it is none of them.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fault = f"{name}, line {line}: not a text in UTF-8; save it as such ({error.reason})"
        if utf16:
            raise InvalidLabels(fault) from error
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise InvalidLabels(fault) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidLabels(
            f"{name}, line {line}: not a CSV text in UTF-8: it holds a zero byte (NUL); save the table as CSV UTF-8"
        )
    return text


def table_rows(text: str, name: str, columns: Mapping[LabelField, str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line's number, by the names of a label's fields.

    Columns are known by their usual names, however blanks, underscores and case are written. A table without a column
    of track ids is read by its column of files. The three lines of names in the tables of FMA (Defferrard et al.: FMA:
    A Dataset for Music Analysis, ISMIR 2017) are understood.

    Args:
        text: the table.
        name: what messages call the file.
        columns: the names of columns that go before the usual ones.

    Raises:
        InvalidLabels: a needed column is missing, one is there twice, or the table is not well-formed.
    """
    try:
        yield from _rows(text, name, columns)
    except csv.Error as error:
        raise InvalidLabels(f"{name} is not a CSV text: {error}") from error


def _rows(text: str, name: str, said: Mapping[LabelField, str]) -> Iterator[tuple[int, dict[str, str]]]:
    # Excel's own line about the separator is no row, but counts as a line.
    declared = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    separator = declared[1] if declared else _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    if declared:
        next(reader, None)
    names = _names(reader)
    columns = _columns(names, name, said)
    for row in reader:
        if not any(map(str.strip, row)):
            continue
        if any(map(str.strip, row[len(names) :])):
            raise InvalidLabels(f"{name}, line {reader.line_num}: there are more values than columns")
        values = {field: row[place].strip() if place < len(row) else "" for field, place in columns.items()}
        yield reader.line_num, values


def _separator(text: str) -> str:
    """The one that stands most often in the line of names, outside quotes."""
    head = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max(_SEPARATORS, key=head.count)


def _names(reader: Iterator[list[str]]) -> list[str]:
    names = next((row for row in reader if row), [])
    if names and not names[0].strip() and names.count("track") > 1:
        # FMA: the second line tells apart what the first puts together, and the third names the first column alone.
        below, index = next(reader, []), next(reader, [])
        names = [*index[:1], *(f"{group} {each}" for group, each in zip(names[1:], below[1:], strict=False))]
    return [name.strip() for name in names]


def _columns(names: Sequence[str], name: str, said: Mapping[LabelField, str]) -> Mapping[str, int]:
    keys = [_key(each) for each in names]
    found = {
        field: next((keys.index(called) for called in usual if called in keys), None)
        for field, usual in _COLUMNS.items()
    }
    file = found.pop("file")
    if found["track_id"] is None:
        found["track_id"] = file
    for field, column in said.items():
        if _key(column) not in keys:
            raise InvalidLabels(
                f"{name} has no column {column}, which data.label_columns names for {field}; it has {', '.join(names)}"
            )
        found["track_id" if field == "track" else field] = keys.index(_key(column))
    missing = [field for field in ("genre", "track_id") if found[field] is None]
    if missing:
        raise InvalidLabels(f"{name} has no column {' and '.join(missing)}; it has {', '.join(names)}")
    columns = {field: place for field, place in found.items() if place is not None}
    times = Counter(keys)
    if any(times[keys[place]] > 1 for place in columns.values()):
        raise InvalidLabels(f"{name} has a column twice: {', '.join(names)}")
    return columns


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).casefold()
