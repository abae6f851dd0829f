"""Crawls of the server that plays Spotify, as a user starts them: in a process of their own."""

import csv
import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from deepmusic_genre.tracks.track import Track
from tests.conftest import ROOT
from tests.support.command import command
from tests.support.spotify_server import CLIENT_ID, CLIENT_SECRET, Spotify, spotify_id, track_item
from tests.support.tracks import GENRES

GONE_EVERY = 20
"""One of so many tracks has no analysis."""


def big_catalogue(tracks: int, playlists: int) -> tuple[Spotify, dict[str, list[str]]]:
    """Playlists of equal size over all genres, with every twentieth track gone.

    Returns:
        The server, and the playlists by genre.
    """
    spotify, by_genre = Spotify(retry_after="0"), dict[str, list[str]]()
    size = tracks // playlists
    for number in range(playlists):
        items = [
            track_item(f"track {track}", f"Band {track // 5}") for track in range(number * size, (number + 1) * size)
        ]
        playlist = spotify.add_playlist(f"playlist {number}", items)
        by_genre.setdefault(GENRES[number % len(GENRES)], []).append(playlist)
    for track in range(0, tracks, GONE_EVERY):
        del spotify.analyses[spotify_id(f"track {track}")]
    return spotify, by_genre


def fewest_requests(spotify: Spotify) -> int:
    """How many requests a crawl without any fault has to make for what the server holds, with the one for a token."""
    pages = sum(1 + max(0, ceil((len(playlist["items"]) - 100) / 50)) for playlist in spotify.playlists.values())
    items = [item for playlist in spotify.playlists.values() for item in playlist["items"]]
    tracks = {item["id"] for item in items}
    return 1 + pages + ceil(len(tracks) / 100) + len(tracks)


CREDENTIALS = {"SPOTIPY_CLIENT_ID": CLIENT_ID, "SPOTIPY_CLIENT_SECRET": CLIENT_SECRET}


def environment() -> dict[str, str]:
    """The environment of a process that crawls the server."""
    return {**os.environ, **CREDENTIALS}


def arguments(spotify: Spotify, output: Path, playlists: dict[str, list[str]]) -> list[str]:
    """Settings for a crawl of the server below ``output``, as fast as it goes."""
    spotify_settings = {
        "accept_policy": "true",
        "playlists": json.dumps(playlists),
        "api_url": f"{spotify.address}/v1",
        "requests_per_second": "10000",
    }
    return [f"output={output}", *(f"spotify.{key}={value}" for key, value in spotify_settings.items())]


def start_crawl(spotify: Spotify, output: Path, playlists: dict[str, list[str]], *more: str) -> subprocess.Popen[str]:
    """Starts ``make crawl``'s command in a process of its own."""
    # A shell's background job, which the tests may be, hands on a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        command("crawl", *arguments(spotify, output, playlists), *more),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_crawl(
    spotify: Spotify, output: Path, playlists: dict[str, list[str]], kills: Iterable[int]
) -> tuple[str, int]:
    """Crawls to the end, and kills the crawl whenever the server has had so many requests.

    Returns:
        What the last process printed, and its exit code.
    """
    for requests in kills:
        process = start_crawl(spotify, output, playlists)
        while spotify.total < requests:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start_crawl(spotify, output, playlists)
    stdout, stderr = process.communicate(timeout=1200)
    return stdout + stderr, process.returncode


def assert_whole(spotify: Spotify, store: Path) -> None:
    """Every track that the server has an analysis of is stored once, is what the server holds, and has a label."""
    files = {path.name.removesuffix(".json.gz"): path for path in (store / "analyses").rglob("*") if path.is_file()}
    assert set(files) == set(spotify.analyses)
    for track_id, path in files.items():
        (track,) = AudioAnalysisJson().read(str(path), path.open("rb"))
        assert isinstance(track, Track)
        assert track.track_id == track_id
        content = json.loads(gzip.decompress(path.read_bytes()))
        features = content.pop("audio_features")
        assert features == {name: spotify.features[track_id][name] for name in features} == track.audio_features
        assert set(features) == set(AUDIO_FEATURES)
        assert content["crawl"]["id"] == content.pop("track_id") == track_id
        del content["crawl"]
        assert content == spotify.analyses[track_id]
    assert {row["track_id"] for row in labels(store)} == set(files)
    assert not list((store / "partial").iterdir())


def labels(store: Path) -> list[dict[str, str]]:
    """The labels file's rows."""
    with (store / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(store: Path) -> dict[str, Any]:
    """The store's report."""
    return json.loads((store / "report.json").read_text())


def assert_no_secret(spotify: Spotify, folder: Path, *texts: str) -> None:
    """Neither credentials nor tokens stand in any file, compressed or not, or in what was printed."""
    secrets = [secret.encode() for secret in (CLIENT_ID, CLIENT_SECRET, *spotify.all_tokens)]
    assert spotify.all_tokens
    contents = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    contents |= {name: gzip.decompress(content) for name, content in contents.items() if name.endswith(".gz")}
    contents |= {f"text {number}": text.encode() for number, text in enumerate(texts)}
    assert [(name, secret) for name, content in contents.items() for secret in secrets if secret in content] == []
