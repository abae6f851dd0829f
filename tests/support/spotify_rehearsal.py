"""Plays Spotify for a rehearsal of a crawl, from its start to a model: ``python -m tests.support.spotify_rehearsal``.

It serves the demo's synthetic catalogue in playlists, on this machine alone, and writes the settings that crawl it.
"""

from __future__ import annotations

import csv
import gzip
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from deepmusic_genre.demo import generate_catalogue
from tests.support.spotify_crawls import CREDENTIALS
from tests.support.spotify_server import Spotify, serve, spotify_id, track_item

TRACKS, ARTISTS = 240, 80


@contextmanager
def rehearsal(settings: Path, tracks: int = TRACKS, artists: int = ARTISTS) -> Iterator[Spotify]:
    """Serves for as long as the context lasts.

    Args:
        settings: the file of settings that is written.
        tracks: in all playlists together.
        artists: of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        catalogue = generate_catalogue(Path(folder) / "demo", tracks, artists)
        spotify, playlists = _spotify(catalogue)
    with serve(spotify):
        settings.write_text(_settings(spotify, playlists), encoding="utf-8")
        yield spotify


def _rehearse(settings: Path) -> None:
    with rehearsal(settings) as spotify:
        credentials = " ".join(f"{name}={value}" for name, value in CREDENTIALS.items())
        print(f"Serving {TRACKS} synthetic tracks at {spotify.address}/v1; Ctrl-C ends it. In another terminal:")
        print(f"  export {credentials}")
        print(f"  make crawl SETTINGS={settings}")
        print(f"  make run-local SETTINGS={settings}", flush=True)
        signal.pause()


def _spotify(catalogue: Path) -> tuple[Spotify, dict[str, list[str]]]:
    """The server, and its playlists by genre."""
    spotify, items = Spotify(), dict[str, list[dict[str, object]]]()
    with (catalogue / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            item = {**track_item(row["track_id"], row["artist"]), "name": row["title"]}
            content = gzip.decompress((catalogue / "tracks" / f"{row['track_id']}.json.gz").read_bytes())
            analysis = json.loads(content)
            # The Web API's own analyses name no track.
            analysis.pop("track_id", None)
            spotify.analyses[spotify_id(row["track_id"])] = analysis
            items.setdefault(row["genre"], []).append(item)
    return spotify, {genre: [spotify.add_playlist(genre, tracks)] for genre, tracks in items.items()}


def _settings(spotify: Spotify, playlists: Mapping[str, list[str]]) -> str:
    section = {
        "enabled": True,
        "accept_policy": True,
        "api_url": f"{spotify.address}/v1",
        "requests_per_second": 50,
        "playlists": dict(playlists),
    }
    return yaml.safe_dump({"name": "rehearsal", "spotify": section}, sort_keys=False)


if __name__ == "__main__":
    try:
        _rehearse(Path(sys.argv[1] if len(sys.argv) > 1 else "rehearsal.yaml"))
    except KeyboardInterrupt:
        print()
