"""Tests of crawls as users start them: killed, interrupted, misled, without room, and in the pipeline."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.artifacts import IngestReport, SpotifyStore
from components.spotify_crawl.component import SpotifyCrawl
from components.spotify_crawl.request import SPOTIFY, Access, CrawlRequest
from components.storage.staging import Copies
from deepmusic_genre.errors import ComponentFailed, PipelineInputError
from pipeline.create_pipeline import create_pipeline
from pipeline.run.local_runner import LocalRunner
from pipeline.settings import load_settings
from tests.conftest import ROOT, artifacts
from tests.support.command import command
from tests.support.spotify_crawls import (
    arguments,
    assert_no_secret,
    assert_whole,
    big_catalogue,
    environment,
    fewest_requests,
    killed_crawl,
    labels,
    report,
    start_crawl,
)
from tests.support.spotify_rehearsal import rehearsal
from tests.support.spotify_server import CLIENT_SECRET, Spotify, serve, track_item

STORE = Path("deepmusic", "spotify")


@pytest.fixture
def spotify() -> Iterator[Spotify]:
    with serve(Spotify()) as server:
        yield server


@pytest.mark.slow
def test_a_crawl_that_is_killed_again_and_again_has_every_track_once(tmp_path: Path) -> None:
    catalogue, playlists = big_catalogue(tracks=160, playlists=8)
    catalogue.rates = dict.fromkeys(("429", "500", "drop", "expire"), 0.02)
    draws = random.Random(5)  # noqa: S311 - no secret is made of it.
    kills = sorted(draws.sample(range(5, 150), 3))
    with serve(catalogue):
        printed, code = killed_crawl(catalogue, tmp_path, playlists, kills)
    assert code == 0, printed
    assert_whole(catalogue, tmp_path / STORE)
    assert_no_secret(catalogue, tmp_path, printed)
    assert [item["reason"] for item in report(tmp_path / STORE)["passed_over"]] == ["Spotify answers 404"] * 8
    # A start costs a token and a look at each playlist, a kill what was on its way; an expired token a new one.
    extra = len(kills) * (1 + len(catalogue.playlists) + 1) + catalogue.faults["expire"]
    assert sum(catalogue.requests.values()) <= fewest_requests(catalogue) + extra


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_stop_ends_a_crawl_that_goes_on_later(
    number: signal.Signals, code: int, spotify: Spotify, tmp_path: Path
) -> None:
    playlist = spotify.add_playlist("A", [track_item(str(number)) for number in range(40)])
    spotify.retry_after = "9"
    process = start_crawl(spotify, tmp_path, {"Jazz": [playlist]})
    while spotify.total < 10:
        time.sleep(0.005)
    spotify.coming = ["429"]
    while not spotify.faults["429"]:
        time.sleep(0.005)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (code, "")
    stored = report(tmp_path / STORE)["stored"]
    assert f"Left: {40 - stored} tracks. Run the same command to resume." in stdout
    assert len(labels(tmp_path / STORE)) == stored
    process = start_crawl(spotify, tmp_path, {"Jazz": [playlist]})
    stdout, _ = process.communicate(timeout=60)
    assert f"40 tracks stored (Jazz 40), {40 - stored} of them new" in stdout
    assert process.returncode == 0


def test_an_incomplete_crawl_has_an_exit_code_of_its_own_and_says_when_to_come_back(
    spotify: Spotify, tmp_path: Path
) -> None:
    playlist = spotify.add_playlist("A", [track_item(str(number)) for number in range(4)])
    spotify.after(4, lambda: spotify.coming.append("429"))
    spotify.retry_after = "82173"
    codes, printed = [], ""
    for _ in range(2):
        process = start_crawl(spotify, tmp_path, {"Jazz": [playlist]})
        printed, _ = process.communicate(timeout=60)
        codes.append(process.returncode)
    assert codes == [75, 75]
    assert "Not complete: Spotify asks for a pause of 22 h " in printed
    assert "Left: 3 tracks. Run the same command after 20" in printed


def test_words_of_spotifys_are_on_the_screen_and_nothing_at_all_is_a_fault(spotify: Spotify, tmp_path: Path) -> None:
    spotify.words = "User not registered in the Developer Dashboard"
    playlist = spotify.add_playlist("A", [track_item("a")])
    spotify.statuses = {f"/v1/playlists/{playlist}": 403}
    process = start_crawl(spotify, tmp_path, {"Jazz": [playlist]})
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "1 playlist: Spotify answers 403: User not registered in the Developer Dashboard" in printed


def test_a_full_disk_is_named_and_costs_nothing_that_was_stored(spotify: Spotify, tmp_path: Path) -> None:
    playlist = spotify.add_playlist("A", [track_item(str(number)) for number in range(3)])
    # No file may grow beyond a size that an analysis exceeds and the rest does not.
    crawl = command("crawl", *arguments(spotify, tmp_path, {"Jazz": [playlist]}))
    result = subprocess.run(
        ["/bin/bash", "-c", 'ulimit -f 2; exec "$@"', "-", *crawl],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"The store {tmp_path / STORE} cannot be used: File too large. What is in it stays, and is gone on from.\n"
    )
    process = start_crawl(spotify, tmp_path, {"Jazz": [playlist]})
    process.communicate(timeout=60)
    assert_whole(spotify, tmp_path / STORE)


def test_a_rehearsal_can_be_crawled_with_the_settings_that_it_writes(tmp_path: Path) -> None:
    settings = tmp_path / "rehearsal.yaml"
    with rehearsal(settings, tracks=16, artists=8):
        process = subprocess.run(
            command("crawl", "--settings", str(settings), f"output={tmp_path}"),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    assert "16 tracks stored" in process.stdout
    assert "; audio features of 16 tracks\n" in process.stdout
    assert len({row["genre"] for row in labels(tmp_path / "rehearsal" / "spotify")}) == 8


def _refusal(spotify: Spotify, tmp_path: Path, *settings: str, **variables: str) -> str:
    """What the command answers in one line."""
    result = subprocess.run(
        command("crawl", f"output={tmp_path}", f"spotify.api_url={spotify.address}/v1", *settings),
        cwd=ROOT,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert CLIENT_SECRET not in result.stdout + result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


ACCEPTED = "spotify.accept_policy=true"
PLAYLISTS = "spotify.playlists={Jazz: [37i9dQZF1DXbITWG1ZJKYt]}"


@pytest.mark.parametrize(
    ("settings", "variables", "message"),
    [
        ([PLAYLISTS], {}, "forbids training machine-learning models"),
        ([PLAYLISTS, "spotify.enabled=false"], {}, "forbids training machine-learning models"),
        ([ACCEPTED], {}, "there is no playlist to crawl"),
        ([ACCEPTED, PLAYLISTS], {"SPOTIPY_CLIENT_SECRET": ""}, "SPOTIPY_CLIENT_SECRET is set neither in"),
        ([ACCEPTED, PLAYLISTS], {"SPOTIPY_CLIENT_ID": "wrong"}, "Spotify does not accept the credentials"),
        ([ACCEPTED, PLAYLISTS, "spotify.api_url=http://example.org"], {}, "nor an http address of this machine"),
        ([ACCEPTED, PLAYLISTS, "spotify.store=/proc/store"], {}, "/proc/store cannot be used"),
    ],
)
def test_a_crawl_that_cannot_begin_says_why(
    settings: list[str], variables: dict[str, str], message: str, spotify: Spotify, tmp_path: Path
) -> None:
    assert message in _refusal(spotify, tmp_path, *settings, **variables)


# In the pipeline


class _Enough(Exception):
    """The examples are there; what comes after is the same for every source."""


class _FirstSteps:
    """Runs the pipeline from the crawl to the examples.

    Attributes:
        cached: whether a component's output came from the cache.
    """

    def __init__(self, spotify: Spotify, output: Path, playlists: dict[str, list[str]]) -> None:
        self.cached: dict[str, bool] = {}
        settings = load_settings(None, [*arguments(spotify, output, playlists), "spotify.enabled=true"])
        self._home = Path(settings.home)
        self._home.mkdir(parents=True, exist_ok=True)
        connection = sqlite_metadata_connection_config(str(self._home / "metadata.sqlite"))
        pipeline = create_pipeline(settings, str(self._home / "artifacts"), str(self._home / "pushed"), connection)
        with contextlib.suppress(_Enough):
            LocalRunner(self, Copies(settings.copies)).run(pipeline)

    def started(self, component: str) -> None:
        if component == "StatisticsGen":
            raise _Enough

    def finished(self, component: str, seconds: float, cached: bool) -> None:  # noqa: ARG002 - the runner's.
        self.cached[component] = cached

    def artifact(self, component: str, key: str) -> Path:
        """The folder of a component's only output."""
        (folder,) = artifacts(self._home, component, key)
        return folder


@pytest.fixture
def credentials(spotify: Spotify, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def _playlists(spotify: Spotify) -> dict[str, list[str]]:
    return {
        genre: [spotify.add_playlist(genre, [track_item(f"{genre} {at}", f"{genre} band {at}") for at in range(20)])]
        for genre in ("Jazz", "Rock")
    }


def test_the_pipeline_crawls_first_and_then_reads_what_there_is(
    spotify: Spotify, credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    playlists = _playlists(spotify)
    run = _FirstSteps(spotify, tmp_path, playlists)
    content = json.loads((run.artifact("SpotifyCrawl", "store_state") / SpotifyStore.FILE).read_text())
    assert content == {"path": str(tmp_path / STORE), "report": report(tmp_path / STORE)}
    summary = json.loads((run.artifact("TrackExampleGen", "report") / IngestReport.SUMMARY_FILE).read_text())
    assert sum(count for split in summary["examples"].values() for count in split.values()) == 40
    assert (summary["rejected"], summary["unlabelled"]) == (0, 0)
    assert_no_secret(spotify, tmp_path)

    # All is there: a second run needs neither Spotify nor credentials.
    credentials.delenv("SPOTIPY_CLIENT_ID")
    total = spotify.total
    run = _FirstSteps(spotify, tmp_path, playlists)
    assert (run.cached["SpotifyCrawl"], run.cached["TrackExampleGen"]) == (False, True)
    assert spotify.total == total


def test_a_run_goes_on_when_the_quota_is_spent_and_the_next_one_gets_the_rest(
    spotify: Spotify, credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    playlists = _playlists(spotify)
    spotify.quota = 37
    _FirstSteps(spotify, tmp_path, playlists)
    assert (report(tmp_path / STORE)["stored"], report(tmp_path / STORE)["left"]) == (34, 6)
    spotify.quota = 1000
    assert _FirstSteps(spotify, tmp_path, playlists).cached["TrackExampleGen"] is False
    assert report(tmp_path / STORE)["stored"] == 40


@pytest.mark.parametrize(("kind", "message"), [("track", "closed to apps made after"), ("playlist", "answers 404")])
def test_a_crawl_that_brings_nothing_stops_the_run_and_says_why(
    kind: str, message: str, spotify: Spotify, credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    playlists = _playlists(spotify)
    if kind == "track":
        spotify.statuses = {f"/v1/audio-analysis/{track}": 403 for track in spotify.analyses}
    else:
        spotify.playlists = {}
    with pytest.raises(ComponentFailed) as caught:
        _FirstSteps(spotify, tmp_path, playlists)
    assert isinstance(caught.value.__cause__, PipelineInputError)
    assert "The crawl brought not one track. " in str(caught.value.__cause__)
    assert message in str(caught.value.__cause__)


def test_the_component_has_a_store_state_and_no_secret_among_its_properties(credentials: pytest.MonkeyPatch) -> None:
    component = SpotifyCrawl("/store", CrawlRequest({"Jazz": ("a",)}), Access(SPOTIFY, 2.5, 60.0, 900.0), "0123")
    assert component.outputs["store_state"].type is SpotifyStore
    assert component.exec_properties == {
        "store": "/store",
        "request": '{"playlists":{"Jazz":["a"]},"max_tracks_per_playlist":null}',
        "access": '{"api_url":"https://api.spotify.com/v1","requests_per_second":2.5,"max_wait_seconds":60.0,'
        '"patience_seconds":900.0}',
        "code_version": "0123",
    }


def test_a_pipeline_without_spotify_imports_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("spotipy", "components.spotify_crawl"))]:
        monkeypatch.delitem(sys.modules, name)
    whole = create_pipeline(load_settings(None, ["data.path=x"]), "a", "b")
    assert [node.id for node in whole.components if node.id.startswith("Spotify")] == []
    assert [name for name in sys.modules if name.startswith(("spotipy", "components.spotify_crawl"))] == []
