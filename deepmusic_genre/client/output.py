"""What ``deepmusic predict`` writes: bars for people, CSV and JSON lines for scripts."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepmusic_genre.client.client import Prediction
from deepmusic_genre.client.text import cell, encodable, printable
from deepmusic_genre.tracks.track import Track

Answers = Iterable[tuple[Track, Prediction]]

FIRST_COLUMNS = ["track_id", "artist", "title", "genre"]
LAST_COLUMNS = ["sure", "familiarity", "model_version", "file"]

_BAR = 30


class OtherColumns(Exception):
    """The answers do not fit to those that a file already holds."""


def write_bars(answers: Answers, console: Console) -> None:
    """Artist and title, whether the answer is unsure, and a bar a genre, the most probable first."""
    for track, prediction in answers:
        title = escape(_title(track)) + ("  [bold]unsure[/]" if prediction.sure is False else "")
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for genre, probability in sorted(prediction.probabilities.items(), key=lambda item: -item[1]):
            table.add_row(escape(printable(genre)), f"{probability:.3f}", "█" * round(_BAR * probability))
        console.print(table)


def write_json_lines(answers: Answers, stream: TextIO, _columns: Sequence[str] | None = None) -> None:
    """An object a track."""
    for track, prediction in answers:
        line = {
            "track_id": encodable(track.track_id),
            "artist": encodable(track.artist),
            "title": encodable(track.title),
            "genre": encodable(prediction.genre),
            "probabilities": prediction.probabilities,
            "sure": prediction.sure,
            "familiarity": prediction.familiarity,
            "model_version": prediction.version,
            "file": cell(track.path),
        }
        stream.write(msgspec.json.encode(line).decode() + "\n")
        stream.flush()


def write_csv(answers: Answers, stream: TextIO, columns: Sequence[str] | None = None) -> None:
    """A row a track, a column a genre.

    Args:
        answers: Tracks with their predictions.
        stream: What to write to.
        columns: Names of the columns that are there already, None if there are none yet.

    Raises:
        OtherColumns: the answers have other genres than those columns.
    """
    writer = csv.writer(stream, lineterminator="\n")
    for track, prediction in answers:
        header = [*FIRST_COLUMNS, *map(cell, prediction.probabilities), *LAST_COLUMNS]
        if columns is None:
            columns = header
            writer.writerow(header)
        elif list(columns) != header:
            raise OtherColumns
        values = (f"{probability:.6f}" for probability in prediction.probabilities.values())
        texts = map(cell, (track.track_id, track.artist, track.title, prediction.genre))
        writer.writerow([*texts, *values, *_trust(prediction), prediction.version, cell(track.path)])
        stream.flush()


WRITERS: dict[str, Callable[[Answers, TextIO, Sequence[str] | None], None]] = {
    "csv": write_csv,
    "jsonl": write_json_lines,
}


def _trust(prediction: Prediction) -> tuple[str, str]:
    """Cells, which are empty where the model says nothing of it."""
    sure = "" if prediction.sure is None else str(prediction.sure).lower()
    return sure, "" if prediction.familiarity is None else f"{prediction.familiarity:.2f}"


def _title(track: Track) -> str:
    return printable(" - ".join(text for text in (track.artist, track.title) if text) or track.track_id)
