"""``make predict``: the genres of tracks, from a served model."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.client.rest import EndpointError, Prediction, RestClient
from serving.client.tracks import read_tracks
from sources.track import Rejection, Track

_BAR = 30
_TOGETHER = 16

Answer = tuple[Track, Prediction]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints an answer a track; 1 if a file could not be used or the server did not answer."""
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__)
    parser.add_argument("tracks", nargs="+", help="audio-analysis JSON, .h5, or a folder of them")
    parser.add_argument("--url", default="http://127.0.0.1:8501", help="of TF Serving's REST interface")
    parser.add_argument("--model", default="deepmusic")
    parser.add_argument("--model-version", type=int, help="instead of the newest")
    parser.add_argument("--timeout", type=float, default=30, help="seconds a request may take")
    parser.add_argument("--format", choices=sorted(_WRITERS), default="bars")
    options = parser.parse_args(arguments)
    client = RestClient(options.url, options.model, options.model_version, options.timeout)
    faults: list[str] = []
    try:
        _WRITERS[options.format](_answers(client, options.tracks, faults))
    except EndpointError as error:
        faults.append(str(error))
    except BrokenPipeError:
        # Whoever reads has enough; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _answers(client: RestClient, paths: Sequence[str], faults: list[str]) -> Iterator[Answer]:
    tracks = _usable(paths, faults)
    while together := list(islice(tracks, _TOGETHER)):
        yield from zip(together, client.predict(together), strict=True)


def _usable(paths: Sequence[str], faults: list[str]) -> Iterator[Track]:
    for file, item in read_tracks(paths):
        if isinstance(item, Rejection):
            faults.append(f"{file}: {item.reason}")
        else:
            yield item


def _bars(answers: Iterable[Answer]) -> None:
    console = Console(highlight=False)
    for track, prediction in answers:
        table = Table(title=escape(_title(track)), title_justify="left", show_header=False, box=None)
        for genre, probability in sorted(prediction.probabilities.items(), key=lambda item: -item[1]):
            table.add_row(escape(genre), f"{probability:.3f}", "█" * round(_BAR * probability))
        console.print(table)


def _title(track: Track) -> str:
    return " - ".join(text for text in (track.artist, track.title) if text) or track.track_id


def _json_lines(answers: Iterable[Answer]) -> None:
    for track, prediction in answers:
        line = {
            "track_id": track.track_id,
            "artist": track.artist,
            "title": track.title,
            "genre": prediction.genre,
            "probabilities": prediction.probabilities,
        }
        sys.stdout.write(orjson.dumps(line).decode() + "\n")


def _csv(answers: Iterable[Answer]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, (track, prediction) in enumerate(answers):
        if number == 0:
            writer.writerow(["track_id", "artist", "title", "genre", *prediction.probabilities])
        values = (f"{probability:.6f}" for probability in prediction.probabilities.values())
        writer.writerow([track.track_id, track.artist, track.title, prediction.genre, *values])


_WRITERS: dict[str, Callable[[Iterable[Answer]], None]] = {"bars": _bars, "csv": _csv, "jsonl": _json_lines}


if __name__ == "__main__":
    sys.exit(main())
