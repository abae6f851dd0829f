"""The ways people write genres, in ``genre_table.csv`` beside this module.

A row has a genre, the larger genre that it is a part of, if there is no doubt of that, and other names of it. The table
knows the 192 genres of ID3, those of tagtraum's annotations of the Million Song Dataset (Schreiber: Improving genre
annotations for the Million Song Dataset, ISMIR 2015) and of GTZAN (Tzanetakis and Cook: Musical genre classification of
audio signals, 2002), and usual spellings.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_NOTHING = "nothing"


class _Row(NamedTuple):
    key: str
    part_of: str


def genre_key(name: str) -> str:
    """What the spellings of a genre have in common."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def meanings(key: str) -> Iterator[str]:
    """The keys of what a genre's key means: its main name, then the larger genres that it is a part of.

    A key that is not in the table means itself.
    """
    row = _table().get(key, _Row(key, ""))
    yield row.key
    while row.part_of:
        row = _table()[row.part_of]
        yield row.key


def is_known(key: str) -> bool:
    """Whether the table has a genre's key."""
    return key in _table()


def says_nothing(key: str) -> bool:
    """Whether a name in the place of a genre is that of none, as ``Unknown`` or ID3's ``Other``."""
    return next(meanings(key)) in ("", _NOTHING)


@cache
def _table() -> dict[str, _Row]:
    """Each name's row, by its key."""
    table = {}
    with (files(__package__) / "genre_table.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            row = _Row(genre_key(line["genre"]), genre_key(line["part_of"]))
            table |= dict.fromkeys(map(genre_key, [line["genre"], *line["names"].split(";")]), row)
    del table[""]
    return table
