"""Forms of the answers for other programs: JSON lines, and playlists that players read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from deepmusic_genre.client.text import printable
from deepmusic_genre.tracks.audio import AudioFile

_DIGITS = 6


class JsonLinesWriter:
    """An object a track, with the fields of ``deepmusic predict --format jsonl`` and the table's further ones."""

    def __init__(self, file: BinaryIO, genres: Sequence[str]) -> None:
        """Begins an empty file.

        Args:
            file: What is written to.
            genres: Names in the order of the class index.
        """
        self._file = file
        self._columns = {f"probability_{genre}": genre for genre in genres}
        file.write(b"")  # TensorFlow makes a file when it is first written to.

    def write_table(self, table: pa.Table) -> None:
        """Writes the rows of a table of answers."""
        for row in table.to_pylist():
            self._file.write(msgspec.json.encode(self._line(row)) + b"\n")

    def _line(self, row: dict[str, Any]) -> dict[str, Any]:
        probabilities = {genre: round(row[column], _DIGITS) for column, genre in self._columns.items()}
        others = {name: value for name, value in row.items() if name not in self._columns and name != "probability"}
        return {**others, "probabilities": probabilities}


class PlaylistWriter:
    """A playlist a genre, as extended M3U in UTF-8.

    Tracks stand in it in the order of the table, by absolute paths. Only sound files of this machine do: nothing else
    can be played.
    """

    def __init__(self, files: Mapping[str, BinaryIO]) -> None:
        """Begins empty playlists, in files by their genre."""
        self._files = files
        for file in files.values():
            file.write(b"#EXTM3U\n")

    def write_table(self, table: pa.Table) -> None:
        """Writes the entries of a table of answers."""
        if not self._files:
            return
        for row in table.select(["file", "genre", "artist", "title"]).to_pylist():
            if _playable(row["file"]):
                shown = printable(" - ".join(filter(None, [row["artist"], row["title"]])))
                # -1 for a length that is not known.
                entry = f"#EXTINF:-1,{shown}\n" if shown else ""
                self._files[row["genre"]].write(f"{entry}{row['file']}\n".encode())


def _playable(path: str) -> bool:
    named = path.lower().endswith(AudioFile.suffixes) and "\n" not in path and "\r" not in path
    return named and os.path.isfile(path)
