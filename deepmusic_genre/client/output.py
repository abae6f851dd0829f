"""What ``deepmusic predict`` writes: bars for people, CSV and JSON lines for scripts."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepmusic_genre.client.client import Prediction
from deepmusic_genre.tracks.track import Track

Answers = Iterable[tuple[Track, Prediction]]

_BAR = 30


def write_bars(answers: Answers, console: Console) -> None:
    """Artist and title, and a bar a genre, the most probable first."""
    for track, prediction in answers:
        table = Table(title=escape(_title(track)), title_justify="left", show_header=False, box=None)
        for genre, probability in sorted(prediction.probabilities.items(), key=lambda item: -item[1]):
            table.add_row(escape(genre), f"{probability:.3f}", "█" * round(_BAR * probability))
        console.print(table)


def write_json_lines(answers: Answers, _console: Console) -> None:
    """An object a track."""
    for track, prediction in answers:
        line = {
            "track_id": track.track_id,
            "artist": track.artist,
            "title": track.title,
            "genre": prediction.genre,
            "probabilities": prediction.probabilities,
        }
        print(msgspec.json.encode(line).decode(), flush=True)


def write_csv(answers: Answers, _console: Console) -> None:
    """A row a track, a column a genre."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, (track, prediction) in enumerate(answers):
        if number == 0:
            writer.writerow(["track_id", "artist", "title", "genre", *prediction.probabilities])
        values = (f"{probability:.6f}" for probability in prediction.probabilities.values())
        writer.writerow([track.track_id, track.artist, track.title, prediction.genre, *values])
        sys.stdout.flush()


WRITERS: dict[str, Callable[[Answers, Console], None]] = {
    "bars": write_bars,
    "csv": write_csv,
    "jsonl": write_json_lines,
}


def _title(track: Track) -> str:
    return " - ".join(text for text in (track.artist, track.title) if text) or track.track_id
