"""Tests of the crawl: what it lists, fetches, passes over and goes on from, over real HTTP."""

import gzip
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from components.spotify_crawl.api import SpotifyApi
from components.spotify_crawl.crawl import crawl
from components.spotify_crawl.credentials import Credentials, Endpoints
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import CrawlRequest
from components.spotify_crawl.store import finished_crawl, open_store
from deepmusic_genre.errors import PipelineInputError
from tests.support.spotify_crawls import labels
from tests.support.spotify_server import CLIENT_ID, CLIENT_SECRET, Spotify, serve, spotify_id, track_item


class _Quiet:
    """Shows nothing, notes what it is told, and does not wait."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int]] = []

    def phase(self, name: str, total: int, stored: int = 0) -> None:
        self.phases.append((name, total, stored))

    def advance(self, stored: bool) -> None:
        pass

    def wait(self, reason: str, seconds: float) -> None:
        pass


class Crawls:
    """A server, a store, and crawls of the one into the other."""

    def __init__(self, spotify: Spotify, folder: Path) -> None:
        self.spotify = spotify
        self.folder = folder
        self.progress = _Quiet()

    def run(self, limit: int | None = None, /, **playlists: list[str]) -> CrawlReport:
        """Crawls playlists, given by genre, and forgets the requests of earlier crawls."""
        self.spotify.requests.clear()
        endpoints = Endpoints(f"{self.spotify.address}/v1/", f"{self.spotify.address}/api/token")
        api = SpotifyApi(Credentials(CLIENT_ID, CLIENT_SECRET), endpoints, self.progress.wait, max_wait_seconds=60)
        request = CrawlRequest({genre: tuple(ids) for genre, ids in playlists.items()}, limit)
        with open_store(self.folder) as store:
            return crawl(request, store, api, self.progress, "0123")

    @property
    def stored(self) -> set[str]:
        """The ids of the tracks in the store."""
        return {path.name.removesuffix(".json.gz") for path in self.folder.glob("analyses/*/*")}

    def asked(self, kind: str) -> list[str]:
        """The paths of the latest crawl's requests, without their parameters, in order."""
        paths = [path.split("?")[0].removeprefix("/v1/") for path in self.spotify.requests]
        return [path for path in paths if path.startswith(kind)]

    def row_of(self, name: str) -> dict[str, str]:
        """A track's only row of the labels file."""
        (row,) = [row for row in labels(self.folder) if row["track_id"] == spotify_id(name)]
        return row


@pytest.fixture
def crawls(tmp_path: Path) -> Iterator[Crawls]:
    with serve(Spotify()) as spotify:
        yield Crawls(spotify, tmp_path / "store")


def _items(first: int, last: int) -> list[dict[str, Any] | None]:
    return [track_item(str(number), f"Band {number}") for number in range(first, last)]


def _ids(first: int, last: int) -> set[str]:
    return {spotify_id(str(number)) for number in range(first, last)}


def _reasons(report: CrawlReport) -> dict[tuple[str, str], str]:
    return {(item.kind, item.id): item.reason for item in report.passed_over}


# What is stored


def test_a_track_is_stored_with_its_metadata(crawls: Crawls) -> None:
    jazz = crawls.spotify.add_playlist("Blue  Hour", [track_item("So\nWhat", "Miles")])
    crawls.run(Jazz=[jazz])
    track = spotify_id("So\nWhat")
    content = json.loads(gzip.decompress((crawls.folder / "analyses" / track[:2] / f"{track}.json.gz").read_bytes()))
    metadata = content.pop("crawl")
    assert content == {**crawls.spotify.analyses[track], "track_id": track}
    assert metadata.pop("fetched").endswith("+00:00")
    assert metadata.pop("fetched_by").startswith("deepmusic 0123, spotipy 2.")
    assert metadata == {
        "id": track,
        "title": "So What",
        "artists": [{"id": spotify_id("Miles"), "name": "Miles"}],
        "album": {"id": spotify_id("Album"), "name": "Album"},
        "duration_ms": 180_000,
        "playlists": [{"genre": "Jazz", "id": jazz, "name": "Blue Hour"}],
    }


def test_labels_have_a_row_a_track_genre_and_playlist(crawls: Crawls) -> None:
    first = crawls.spotify.add_playlist("first", _items(0, 2))
    second = crawls.spotify.add_playlist("second", [track_item("2"), track_item("1", "Other spelling")])
    report = crawls.run(Jazz=[first], Rock=[second])
    rows = [(row["track_id"], row["genre"], row["artist"], row["playlist"]) for row in labels(crawls.folder)]
    assert rows == [
        (spotify_id("0"), "Jazz", "Band 0", first),
        (spotify_id("1"), "Jazz", "Band 1", first),
        (spotify_id("2"), "Rock", "Band", second),
        (spotify_id("1"), "Rock", "Band 1", second),
    ]
    assert (report.stored, report.tracks) == (3, {"Jazz": 2, "Rock": 2})
    assert len(crawls.asked("audio-analysis")) == 3


def test_genres_take_turns(crawls: Crawls) -> None:
    spotify = crawls.spotify
    jazz = [spotify.add_playlist("first", _items(0, 2)), spotify.add_playlist("second", _items(2, 3))]
    rock = spotify.add_playlist("third", _items(10, 12))
    crawls.run(Jazz=jazz, Rock=[rock])
    order = [spotify_id(name) for name in ("0", "10", "1", "11", "2")]
    assert crawls.asked("audio-analysis") == [f"audio-analysis/{track}" for track in order]


def test_artists_are_stored_with_their_genres_in_batches(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 60))
    assert crawls.run(Jazz=[playlist]).artists == 60
    assert len(crawls.spotify.requests) == 1 + 1 + 60 + 2
    lines = (crawls.folder / "artists.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"id": spotify_id("Band 0"), "name": spotify_id("Band 0"), "genres": ["jazz"]}


def test_artists_are_left_out_where_there_are_no_batches(crawls: Crawls) -> None:
    crawls.spotify.batches = False
    playlist = crawls.spotify.add_playlist("A", _items(0, 60))
    report = crawls.run(Jazz=[playlist])
    assert _reasons(report) == {("artist batch", "60 artists"): "Spotify answers 403"}
    assert (report.stored, report.complete) == (60, True)


# Playlists


@pytest.mark.parametrize(("form", "served"), [("items", "items"), ("tracks", "tracks"), ("tracks", "items")])
def test_playlists_of_both_forms_are_read_page_by_page(form: str, served: str, crawls: Crawls) -> None:
    crawls.spotify.form, crawls.spotify.forms_served = form, (served,)
    edges = (0, 99, 100, 149, 150, 209)
    playlist = crawls.spotify.add_playlist(
        "A", [track_item(str(place)) if place in edges else None for place in range(210)]
    )
    report = crawls.run(Jazz=[playlist])
    assert crawls.stored == {spotify_id(str(place)) for place in edges}
    assert [int(item.id) for item in report.passed_over] == [place for place in range(210) if place not in edges]
    misses = 0 if form == served else 1
    assert sum(crawls.spotify.requests[path] for path in crawls.spotify.requests if "playlists" in path) == 4 + misses


def test_items_without_an_analysis_are_listed_with_their_place_and_reason(crawls: Crawls) -> None:
    relinked = track_item("elsewhere", linked_from={"id": spotify_id("asked for")})
    items: list[dict[str, Any] | None] = [
        None,
        track_item("mine.mp3", id=None, is_local=True),
        track_item("talk", type="episode"),
        track_item("odd", id="../../../../etc/passwd"),
        track_item("strange", artists="nobody"),
        track_item("0"),
        track_item("0"),
        relinked,
    ]
    playlist = crawls.spotify.add_playlist("A", items)
    crawls.spotify.analyses[spotify_id("asked for")] = crawls.spotify.analyses[spotify_id("0")]
    report = crawls.run(Jazz=[playlist])
    reasons = [(item.id, item.playlist, item.reason) for item in report.passed_over]
    assert reasons == [
        ("0", playlist, "no track: it was taken down, or is not shown"),
        ("1", playlist, "a local file of the playlist's owner: 'mine.mp3'"),
        ("2", playlist, "no track, but of type episode: 'talk'"),
        ("3", playlist, "its id is none: 'odd'"),
        ("4", playlist, "not in a known form: Expected `array`, got `str` - at `$.item.artists`"),
    ]
    assert crawls.stored == {spotify_id("0"), spotify_id("asked for")}


def test_names_that_no_file_can_hold_are_cleaned(crawls: Crawls) -> None:
    item = track_item('a\0\ud800,"b\u2028', "c\x1b[31m\nd")
    crawls.run(Jazz=[crawls.spotify.add_playlist("\ud83d", [item])])
    (row,) = labels(crawls.folder)
    assert (row["title"], row["artist"]) == ('a,"b', "c[31m d")


@pytest.mark.parametrize("status", [403, 404])
def test_a_playlist_that_is_not_given_is_passed_over(status: int, crawls: Crawls) -> None:
    playlists = [crawls.spotify.add_playlist(str(number), _items(number, number + 1)) for number in range(8)]
    crawls.spotify.statuses = {f"/v1/playlists/{playlist}": status for playlist in playlists[:7]}
    report = crawls.run(Jazz=playlists)
    assert _reasons(report) == {("playlist", playlist): f"Spotify answers {status}" for playlist in playlists[:7]}
    assert (crawls.stored, report.complete) == (_ids(7, 8), True)
    assert len(crawls.asked("playlists")) == 8


def test_items_that_are_not_given_are_passed_over_with_their_playlist(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 101))
    crawls.spotify.forms_served = ()
    assert _reasons(crawls.run(Jazz=[playlist])) == {("playlist", playlist): "Spotify answers 403"}


def test_a_playlist_that_comes_without_its_items_is_asked_for_them(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.spotify.shows_items = False
    assert crawls.run(Jazz=[playlist]).stored == 3
    other = crawls.spotify.add_playlist("another's", _items(3, 6))
    crawls.spotify.forms_served = ()
    assert _reasons(crawls.run(Jazz=[other])) == {("playlist", other): "Spotify answers 403"}


def test_a_limit_takes_the_first_tracks_of_each_playlist(crawls: Crawls) -> None:
    first, second = (crawls.spotify.add_playlist(str(at), [None, *_items(at, at + 150)]) for at in (0, 1000))
    crawls.run(3, Jazz=[first, second])
    assert crawls.stored == _ids(0, 3) | _ids(1000, 1003)
    assert len(crawls.asked("playlists")) == 2
    crawls.run(4, Jazz=[first])
    assert crawls.stored == _ids(0, 4) | _ids(1000, 1003)


# Going on


def test_what_is_stored_is_not_asked_for_again(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    crawls.run(Jazz=[playlist])
    report = crawls.run(Jazz=[playlist])
    assert crawls.asked("") == ["/api/token", f"playlists/{playlist}"]
    assert (report.stored, report.fetched, report.requests) == (20, 0, 1)
    assert crawls.progress.phases[-2:] == [("tracks", 20, 20), ("artist batches", 0, 0)]


def test_what_a_playlist_gained_is_fetched(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.run(Jazz=[playlist])
    crawls.spotify.add_playlist("A", _items(1, 5))
    assert crawls.run(Jazz=[playlist]).fetched == 2
    assert crawls.stored == _ids(0, 5)
    assert {row["track_id"] for row in labels(crawls.folder)} == _ids(1, 5)


def test_a_playlist_that_is_gone_keeps_the_labels_of_its_tracks(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.run(Jazz=[playlist])
    del crawls.spotify.playlists[playlist]
    report = crawls.run(Jazz=[playlist])
    assert _reasons(report) == {("playlist", playlist): "Spotify answers 404"}
    assert (report.stored, len(labels(crawls.folder))) == (3, 3)


def test_a_spent_quota_ends_the_crawl_with_what_there_is(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    del crawls.spotify.analyses[spotify_id("1")]
    crawls.spotify.quota = 5
    report = crawls.run(Jazz=[playlist])
    assert (report.complete, report.stopped) == (False, "the app's quota at Spotify is spent")
    assert (report.stored, report.left) == (3, 6)
    assert finished_crawl(crawls.folder) == report
    assert {row["track_id"] for row in labels(crawls.folder)} == crawls.stored
    crawls.spotify.quota = 1000
    report = crawls.run(Jazz=[playlist])
    # The one that is gone was asked for in the part before.
    assert len(crawls.asked("audio-analysis")) == 6
    assert (report.complete, report.stored) == (True, 9)
    assert _reasons(report) == {("track", spotify_id("1")): "Spotify answers 404"}


def test_a_new_crawl_asks_anew_for_what_the_last_one_could_not_have(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    analysis = crawls.spotify.analyses.pop(spotify_id("1"))
    assert crawls.run(Jazz=[playlist]).complete
    crawls.spotify.analyses[spotify_id("1")] = analysis
    assert crawls.run(Jazz=[playlist]).stored == 3


# Tracks that cannot be had


@pytest.mark.parametrize("status", [403, 404])
def test_a_track_that_is_not_given_is_passed_over(status: int, crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    crawls.spotify.statuses = {f"/v1/audio-analysis/{spotify_id('3')}": status}
    report = crawls.run(Jazz=[playlist])
    assert _reasons(report) == {("track", spotify_id("3")): f"Spotify answers {status}"}
    assert crawls.stored == _ids(0, 10) - {spotify_id("3")}


def test_analyses_that_are_closed_to_the_app_are_not_asked_for_a_thousand_times(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 100))
    crawls.spotify.statuses = {f"/v1/audio-analysis/{track}": 403 for track in crawls.spotify.analyses}
    report = crawls.run(Jazz=[playlist])
    assert "closed to apps made after 2024-11-27" in report.stopped
    assert len(crawls.asked("audio-analysis")) == 5


def test_many_tracks_that_are_gone_do_not_end_a_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    for track in _ids(0, 15):
        del crawls.spotify.analyses[track]
    assert crawls.run(Jazz=[playlist]).stored == 5


def test_a_server_that_is_out_of_order_ends_the_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    crawls.run(1, Jazz=[playlist])
    crawls.spotify.rates = {"500": 1.0}
    report = crawls.run(1, Jazz=[playlist])
    assert _reasons(report) == {("playlist", playlist): "Spotify answers 500, 6 times in a row"}
    playlists = [crawls.spotify.add_playlist(f"new {number}", _items(0, 20)) for number in range(9)]
    report = crawls.run(Jazz=playlists)
    assert report.stopped == "Spotify cannot be reached (Spotify answers 500, 6 times in a row)"
    assert report.requests == 5 * 6


def test_what_could_not_be_reached_is_passed_over_and_left_for_the_next_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    crawls.spotify.statuses = {f"/v1/audio-analysis/{spotify_id('3')}": 503}
    report = crawls.run(Jazz=[playlist])
    assert _reasons(report) == {("track", spotify_id("3")): "Spotify answers 503, 6 times in a row"}
    assert (report.stopped, report.left, report.stored) == (
        "Spotify did not answer for 1 of them",
        1,
        9,
    )
    crawls.spotify.statuses = {}
    report = crawls.run(Jazz=[playlist])
    assert (report.complete, report.passed_over, report.stored) == (True, (), 10)


@pytest.mark.parametrize("answer", [{}, {"segments": []}, {"segments": [{"timbre": [1.0]}]}])
def test_what_is_no_analysis_is_not_stored(answer: dict[str, Any], crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 2))
    crawls.spotify.analyses[spotify_id("1")] = answer
    (reason,) = _reasons(crawls.run(Jazz=[playlist])).values()
    assert "segments" in reason
    assert crawls.stored == _ids(0, 1)


# The store


def _fault(opened: AbstractContextManager[object]) -> str:
    with pytest.raises(PipelineInputError) as caught, opened:
        pass
    return str(caught.value)


def test_one_crawl_at_a_time(tmp_path: Path) -> None:
    with open_store(tmp_path):
        assert "Another crawl writes to" in _fault(open_store(tmp_path))
    with open_store(tmp_path):
        pass


def test_a_store_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"version": 2}')
    assert "is of version 2, and this program reads version 1 alone" in _fault(open_store(tmp_path))


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1, "by": "another program"}', "[1]"])
def test_a_file_that_is_not_the_stores_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(content)
    assert "store.json is damaged, or not its own" in _fault(open_store(tmp_path))


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "is not empty, and is no store" in _fault(open_store(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "thesis.tex"]


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file/store cannot be used: Not a directory" in _fault(open_store(tmp_path / "file" / "store"))
    assert "/proc/store cannot be used" in _fault(open_store(Path("/proc/store")))


def test_what_a_kill_left_is_cleared_away(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 2))
    del crawls.spotify.analyses[spotify_id("1")]
    crawls.spotify.quota = 3
    crawls.run(Jazz=[playlist])
    (crawls.folder / "partial" / "half.json.gz").write_bytes(b"half")
    with (crawls.folder / "passed_over.jsonl").open("ab") as file:
        file.write(b'{"kind":"track","id":"')
    crawls.spotify.quota = 1000
    assert crawls.run(Jazz=[playlist]).complete
    assert crawls.asked("audio-analysis") == []
    assert list((crawls.folder / "partial").iterdir()) == []
