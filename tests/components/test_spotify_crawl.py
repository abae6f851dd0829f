"""Tests of the crawl: what it lists, fetches, passes over and goes on from, over real HTTP."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import Access, CrawlRequest
from components.spotify_crawl.start import crawl_into
from components.spotify_crawl.store import finished_crawl, open_store
from components.spotify_crawl.waits import now
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.audio_features import AUDIO_FEATURES
from tests.support.spotify_crawls import CREDENTIALS, labels
from tests.support.spotify_server import Spotify, serve, spotify_id, track_item


class _Quiet:
    """Shows nothing, notes what it is told, and does not wait."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int]] = []
        self.waits: list[tuple[str, float]] = []
        self._later: list[tuple[float, Callable[[], None]]] = []

    def phase(self, name: str, total: int, stored: int = 0) -> None:
        self.phases.append((name, total, stored))

    def advance(self, stored: bool) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def wait(self, reason: str, seconds: float) -> None:
        self.waits.append((reason, seconds))
        while self._later and sum(each for _, each in self.waits) >= self._later[0][0]:
            self._later.pop(0)[1]()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Does something once so many seconds were waited for."""
        self._later.append((seconds, do))


class Crawls:
    """A server, a store, and crawls of the one into the other."""

    def __init__(self, spotify: Spotify, folder: Path) -> None:
        self.spotify = spotify
        self.folder = folder
        self.progress = _Quiet()

    def run(self, limit: int | None = None, /, **playlists: list[str]) -> CrawlReport:
        """Crawls playlists, given by genre, and forgets the requests of earlier crawls."""
        self.spotify.requests.clear()
        access = Access(
            f"{self.spotify.address}/v1", requests_per_second=10_000, max_wait_seconds=60, patience_seconds=90
        )
        request = CrawlRequest({genre: tuple(ids) for genre, ids in playlists.items()}, limit)
        return crawl_into(self.folder, request, access, self.progress, "0123")

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
def crawls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crawls]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serve(Spotify()) as spotify:
        yield Crawls(spotify, tmp_path / "store")


class _Clock:
    """The time, as far ahead as a test wants it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return now() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("components.spotify_crawl.crawl.now", clock.now)
    return clock


def _items(first: int, last: int) -> list[dict[str, Any] | None]:
    return [track_item(str(number), f"Band {number}") for number in range(first, last)]


def _sparse(positions: int) -> list[dict[str, Any] | None]:
    """A track at every tenth position, and nothing at the others: to store tracks takes time."""
    return [track_item(str(number)) if number % 10 == 0 else None for number in range(positions)]


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
    features = {name: crawls.spotify.features[track][name] for name in AUDIO_FEATURES}
    assert content == {**crawls.spotify.analyses[track], "track_id": track, "audio_features": features}
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


# Playlists

NOT_OWN = " (in development mode an app is given only the playlists of its own users)"


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
        ("4", playlist, "not in a known form: Expected `array | null`, got `str` - at `$.item.artists`"),
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
    reasons = _reasons(report)
    assert set(reasons) == {("playlist", playlist) for playlist in playlists[:7]}
    assert all(reason.startswith(f"Spotify answers {status}") for reason in reasons.values())
    assert (crawls.stored, report.complete) == (_ids(7, 8), True)
    assert len(crawls.asked("playlists")) == 8


def test_items_that_are_not_given_are_passed_over_with_their_playlist(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 101))
    crawls.spotify.forms_served = ()
    assert _reasons(crawls.run(Jazz=[playlist])) == {("playlist", playlist): f"Spotify answers 403{NOT_OWN}"}


def test_a_playlist_that_comes_without_its_items_is_asked_for_them(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.spotify.shows_items = False
    assert crawls.run(Jazz=[playlist]).stored == 3
    other = crawls.spotify.add_playlist("another's", _items(3, 6))
    crawls.spotify.forms_served = ()
    assert _reasons(crawls.run(Jazz=[other])) == {("playlist", other): f"Spotify answers 403{NOT_OWN}"}


def test_a_limit_takes_the_first_tracks_of_each_playlist(crawls: Crawls) -> None:
    first, second = (crawls.spotify.add_playlist(str(at), [None, *_items(at, at + 150)]) for at in (0, 1000))
    crawls.run(4, Jazz=[first, second])
    assert crawls.stored == _ids(0, 3) | _ids(1000, 1003)
    assert len(crawls.asked("playlists")) == 2
    crawls.run(5, Jazz=[first])
    assert crawls.stored == _ids(0, 4) | _ids(1000, 1003)


def test_spotifys_words_stand_in_the_report(crawls: Crawls) -> None:
    own = crawls.spotify.add_playlist("A", _items(0, 2))
    editorial = "37i9dQZF1DXbITWG1ZJKYt"
    crawls.spotify.words = "Resource not found"
    report = crawls.run(Jazz=[own, editorial])
    reason = "Spotify answers 404: Resource not found (Spotify closed its own playlists to apps made after 2024-11-27)"
    assert _reasons(report) == {("playlist", editorial): reason}
    assert report.reasons == (f"1 playlist: {reason}",)


@pytest.mark.parametrize("ignores_offset", [False, True])
def test_pages_without_an_end_end_at_the_total(ignores_offset: bool, crawls: Crawls) -> None:
    crawls.spotify.endless, crawls.spotify.ignores_offset = True, ignores_offset
    playlist = crawls.spotify.add_playlist("A", _sparse(150))
    report = crawls.run(Jazz=[playlist])
    assert sum(crawls.spotify.requests[path] for path in crawls.spotify.requests if "playlists" in path) == 2
    assert len(crawls.stored) == (10 if ignores_offset else 15)
    assert report.complete


def test_pages_that_bring_nothing_new_end_and_are_said_to_be_short(crawls: Crawls) -> None:
    crawls.spotify.endless, crawls.spotify.ignores_offset, crawls.spotify.claimed_total = True, True, 10**9
    playlist = crawls.spotify.add_playlist("A", _sparse(150))
    report = crawls.run(Jazz=[playlist])
    assert len([path for path in crawls.spotify.requests if "playlists" in path]) == 3
    assert {item.id: item.reason for item in report.passed_over if item.kind == "listing"} == {
        playlist: "listed short: after 150 positions the same ones come again",
    }
    # What is short is not taken for what the playlist holds.
    crawls.spotify.ignores_offset, crawls.spotify.claimed_total = False, None
    report = crawls.run(Jazz=[playlist])
    assert ([item for item in report.passed_over if item.kind == "listing"], len(crawls.stored)) == ([], 15)


def test_a_page_of_what_was_taken_down_is_no_end(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", [*[None] * 210, *_items(0, 1)])
    assert crawls.run(Jazz=[playlist]).stored == 1


def test_a_playlist_that_ends_before_its_total_is_said_to_be_short(crawls: Crawls) -> None:
    crawls.spotify.claimed_total = 5
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    assert _reasons(crawls.run(Jazz=[playlist])) == {
        ("listing", playlist): "listed short: it has 5 positions, and 3 of them came"
    }
    assert _reasons(crawls.run(3, Jazz=[playlist])) == {}


def test_what_an_item_may_lack_is_read_all_the_same(crawls: Crawls) -> None:
    bare = {"id": spotify_id("0"), "type": "track"}
    nothing = dict.fromkeys(("name", "artists", "album", "duration_ms", "is_local", "linked_from"))
    items = [bare, {**track_item("1"), **nothing}, track_item("2", linked_from={"type": "track"})]
    crawls.run(Jazz=[crawls.spotify.add_playlist("A", items)])
    assert crawls.stored == _ids(0, 3)


# Going on


def test_what_is_stored_is_not_asked_for_again(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    crawls.run(Jazz=[playlist])
    report = crawls.run(Jazz=[playlist])
    assert crawls.asked("") == ["/api/token", f"playlists/{playlist}"]
    assert (report.stored, report.fetched, report.requests) == (20, 0, 1)
    assert crawls.progress.phases[-1] == ("tracks", 20, 20)


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
    crawls.spotify.quota = 6
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
    assert len(crawls.asked("audio-analysis")) == 5 + 5


def test_many_tracks_that_are_gone_do_not_end_a_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    for track in _ids(0, 15):
        del crawls.spotify.analyses[track]
    assert crawls.run(Jazz=[playlist]).stored == 5


def test_an_app_that_lost_its_access_is_told_so(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 30))
    crawls.run(5, Jazz=[playlist])
    crawls.spotify.statuses = {f"/v1/audio-analysis/{track}": 403 for track in crawls.spotify.analyses}
    crawls.spotify.words = "Forbidden"
    report = crawls.run(Jazz=[playlist])
    assert report.stopped.startswith("Spotify answers 403 to 5 audio analyses in a row, and to one that it gave before")
    assert "(Forbidden)" in report.stopped
    assert (report.final, report.left, report.requests) == (True, 25, 1 + 1 + 5 + 1)
    crawls.spotify.statuses = {}
    assert crawls.run(Jazz=[playlist]).stored == 30


def _bad(crawls: Crawls, fault: str, first: int, last: int) -> None:
    crawls.spotify.faults_of = {f"/v1/audio-analysis/{track}": fault for track in _ids(first, last)}


@pytest.mark.parametrize("fault", ["504", "truncate", "403"])
def test_bad_tracks_in_a_row_keep_no_resume_from_the_rest(fault: str, crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 60))
    _bad(crawls, fault, 3, 8)
    crawls.spotify.quota = 31
    crawls.run(Jazz=[playlist])
    crawls.spotify.quota = 1000
    report = crawls.run(Jazz=[playlist])
    assert crawls.stored == _ids(0, 60) - _ids(3, 8)
    assert set(_reasons(report)) == {("track", track) for track in _ids(3, 8)}
    assert report.complete == (fault == "403")


@pytest.mark.parametrize("fault", ["504", "truncate", "403"])
def test_bad_tracks_at_the_beginning_keep_no_crawl_from_the_rest(fault: str, crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    _bad(crawls, fault, 0, 6)
    crawls.run(Jazz=[playlist])
    assert crawls.stored == _ids(6, 20)


def test_what_was_not_answered_is_asked_for_after_growing_intervals_and_then_given_up(
    crawls: Crawls, clock: _Clock
) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    _bad(crawls, "504", 3, 4)
    report = crawls.run(Jazz=[playlist])
    for minutes in (10, 60, 360, 1440):
        assert report.stopped == "Spotify did not answer for 1 of them"
        assert (report.left, report.stored, report.final) == (1, 9, False)
        assert report.come_back is not None
        left = report.come_back - clock.now()
        assert timedelta(minutes=minutes - 1) < left <= timedelta(minutes=minutes)
        assert report.rest.startswith("Left: 1 track. Run the same command after 20")
        # Before that it is left alone.
        assert crawls.run(Jazz=[playlist]).come_back == report.come_back
        assert crawls.asked("audio-analysis") == []
        clock.ahead += left
        report = crawls.run(Jazz=[playlist])
    assert report.complete
    (reason,) = _reasons(report).values()
    assert reason == "Spotify answers 504, 6 times in a row, and given up after 5 crawls"


def test_what_was_not_answered_comes_last(crawls: Crawls, clock: _Clock) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    _bad(crawls, "504", 2, 3)
    crawls.spotify.quota = 5
    crawls.run(Jazz=[playlist])
    crawls.spotify.quota, crawls.spotify.faults_of = 1000, {}
    clock.ahead = timedelta(minutes=11)
    assert crawls.run(Jazz=[playlist]).stored == 10
    assert crawls.asked("audio-analysis")[-1] == f"audio-analysis/{spotify_id('2')}"


# Audio features


def _stored(crawls: Crawls, name: str) -> dict[str, Any]:
    track = spotify_id(name)
    path = crawls.folder / "analyses" / track[:2] / f"{track}.json.gz"
    stored: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return stored


def _features(crawls: Crawls, name: str) -> dict[str, float]:
    answer = crawls.spotify.features[spotify_id(name)]
    return {feature: answer[feature] for feature in AUDIO_FEATURES}


def _asked_for(crawls: Crawls) -> list[list[str]]:
    """The ids of each request for audio features."""
    urls = [urlsplit(path) for path in crawls.spotify.requests]
    return [parse_qs(url.query)["ids"][0].split(",") for url in urls if url.path == "/v1/audio-features"]


def test_audio_features_come_in_batches_before_the_analyses(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 205))
    for track in _ids(3, 205):
        del crawls.spotify.analyses[track]
    report = crawls.run(Jazz=[playlist])
    batches = _asked_for(crawls)
    assert [len(batch) for batch in batches] == [100, 100, 5]
    assert {track for batch in batches for track in batch} == _ids(0, 205)
    assert all(_stored(crawls, name)["audio_features"] == _features(crawls, name) for name in ("0", "1", "2"))
    assert crawls.progress.phases[1:] == [("audio features", 205, 0), ("tracks", 205, 0)]
    assert (report.audio_features, report.no_audio_features) == (3, "")
    assert str(report).endswith("; audio features of 3 tracks")


def test_audio_features_that_are_known_are_not_asked_for_again(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 6))
    # One has none, and one of them is no such value.
    del crawls.spotify.features[spotify_id("1")]
    crawls.spotify.features[spotify_id("2")] = {**crawls.spotify.features[spotify_id("2")], "energy": 7, "tempo": None}
    crawls.spotify.quota = 4
    crawls.run(Jazz=[playlist])
    crawls.spotify.quota = 1000
    report = crawls.run(Jazz=[playlist])
    assert (_asked_for(crawls), report.stored, report.audio_features) == ([], 6, 5)
    assert "audio_features" not in _stored(crawls, "1")
    left = {name: value for name, value in _features(crawls, "2").items() if name not in ("energy", "tempo")}
    assert _stored(crawls, "2")["audio_features"] == left
    crawls.spotify.add_playlist("A", _items(0, 8))
    crawls.run(Jazz=[playlist])
    assert _asked_for(crawls) == [[spotify_id("6"), spotify_id("7")]]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.spotify_crawl.crawl.MOST_AUDIO_FEATURES", 2)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.usefixtures("small_batches")
def test_audio_features_that_are_closed_to_the_app_are_asked_for_once_and_stop_nothing(
    status: int, crawls: Crawls
) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.spotify.statuses = {"/v1/audio-features": status}
    report = crawls.run(Jazz=[playlist])
    assert (len(_asked_for(crawls)), report.complete, report.stored) == (1, True, 3)
    assert (report.audio_features, report.no_audio_features) == (0, f"Spotify answers {status}")
    assert str(report).endswith(f"; audio features of 0 tracks (they are optional: Spotify answers {status})")
    assert report.passed_over == ()
    assert finished_crawl(crawls.folder) == report
    # Where the app may ask later on, what is stored gets them.
    crawls.spotify.statuses = {}
    before = _stored(crawls, "0")
    report = crawls.run(Jazz=[playlist])
    assert (report.audio_features, report.no_audio_features, report.fetched) == (3, "", 0)
    assert _stored(crawls, "0") == {**before, "audio_features": _features(crawls, "0")}


@pytest.mark.parametrize("fault", ["429", "500", "drop", "expire", "truncate", "HTML", "list"])
def test_audio_features_that_fail_for_a_while_are_asked_for_again(fault: str, crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 2))
    crawls.spotify.after(2, lambda: crawls.spotify.coming.extend([fault, fault]))
    report = crawls.run(Jazz=[playlist])
    assert (crawls.spotify.faults[fault], report.audio_features, report.passed_over) == (2, 2, ())


@pytest.mark.usefixtures("small_batches")
def test_audio_features_that_always_fail_keep_no_crawl_incomplete(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 10))
    crawls.spotify.faults_of = {"/v1/audio-features": "504"}
    report = crawls.run(Jazz=[playlist])
    # Six attempts for each of three batches; the other two are left alone.
    assert crawls.spotify.faults["504"] == 18
    assert (report.complete, report.stored, report.passed_over) == (True, 10, ())
    assert report.no_audio_features == "Spotify answers 504, 6 times in a row"
    crawls.spotify.faults_of = {}
    assert crawls.run(Jazz=[playlist]).audio_features == 10


@pytest.mark.parametrize("answer", [[None] * 3, ["none", {"energy": 0.5}, {"id": [], "energy": 0.5}]])
def test_audio_features_of_another_form_are_none(answer: list[Any], crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    crawls.spotify.statuses = {"/v1/audio-features": (200, json.dumps({"audio_features": answer}).encode())}
    report = crawls.run(Jazz=[playlist])
    assert (report.stored, report.audio_features, report.no_audio_features) == (3, 0, "")


def test_an_answer_with_fewer_audio_features_than_tracks_is_none(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    features = crawls.spotify.features[spotify_id("0")]
    crawls.spotify.statuses = {"/v1/audio-features": (200, json.dumps({"audio_features": [features]}).encode())}
    report = crawls.run(Jazz=[playlist])
    assert (report.complete, report.stored, report.audio_features) == (True, 3, 0)
    assert report.no_audio_features == "Spotify answers with 1 audio features for 3 tracks"
    crawls.spotify.statuses = {}
    assert crawls.run(Jazz=[playlist]).audio_features == 3


def test_a_damaged_analysis_that_should_get_audio_features_is_named(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 1))
    crawls.spotify.statuses = {"/v1/audio-features": 403}
    crawls.run(Jazz=[playlist])
    (path,) = crawls.folder.glob("analyses/*/*")
    path.write_bytes(path.read_bytes()[:50])
    crawls.spotify.statuses = {}
    with pytest.raises(PipelineInputError, match=r"\.json\.gz is damaged, or not its own"):
        crawls.run(Jazz=[playlist])


# Outages and pauses


@pytest.mark.parametrize("fault", ["504", "drop", "503 with a pause"])
@pytest.mark.parametrize("after", [0, 1, 8])
def test_an_outage_of_a_minute_and_a_half_ends_no_crawl(fault: str, after: int, crawls: Crawls) -> None:
    playlists = [crawls.spotify.add_playlist(name, _items(at, at + 6)) for name, at in (("A", 0), ("B", 6))]

    def begin() -> None:
        crawls.spotify.rates = {fault: 1.0}
        crawls.progress.after(85, crawls.spotify.rates.clear)

    crawls.spotify.after(after, begin)
    report = crawls.run(Jazz=playlists)
    assert (report.complete, report.stored, report.passed_over) == (True, 12, ())
    assert 85 <= sum(seconds for _, seconds in crawls.progress.waits) < 200


def test_an_outage_that_lasts_longer_ends_the_crawl_for_now(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    crawls.run(5, Jazz=[playlist])
    crawls.spotify.rates = {"500": 1.0}
    report = crawls.run(Jazz=[playlist])
    assert report.stopped == "Spotify cannot be reached (Spotify answers 500)"
    assert (report.stored, len(labels(crawls.folder))) == (5, 5)
    assert report.come_back is not None
    crawls.spotify.rates = {}
    assert crawls.run(Jazz=[playlist]).stored == 20


def test_an_outage_of_the_analyses_alone_is_called_so(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 20))
    _bad(crawls, "504", 0, 20)
    report = crawls.run(Jazz=[playlist])
    assert report.stopped.startswith("Spotify answers, but gives no audio analysis (Spotify answers 504")
    assert report.requests < 20


def test_a_playlist_that_is_never_answered_keeps_no_other_one_from_being_read(crawls: Crawls) -> None:
    playlists = [crawls.spotify.add_playlist(str(number), _items(number, number + 1)) for number in range(7)]
    crawls.spotify.faults_of = {f"/v1/playlists/{playlist}": "504" for playlist in playlists[:5]}
    report = crawls.run(Jazz=playlists)
    assert crawls.stored == _ids(5, 7)
    assert (report.unlisted, report.complete) == (5, False)
    assert report.rest.startswith("Left: what is in 5 unlisted playlists. Run the same command after")


def test_a_pause_that_spotify_asked_for_is_kept_by_the_next_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 5))
    crawls.spotify.coming, crawls.spotify.retry_after = ["429"], "82173"
    report = crawls.run(Jazz=[playlist])
    assert "a pause of 22 h 50 min" in report.stopped
    again = crawls.run(Jazz=[playlist])
    assert "a pause of 22 h" in again.stopped
    assert crawls.spotify.requests == {}
    assert again.requests == 0
    (crawls.folder / "pause.json").unlink()
    assert crawls.run(Jazz=[playlist]).stored == 5


def test_the_rest_of_a_short_pause_is_waited_for_by_the_next_crawl(crawls: Crawls) -> None:
    playlist = crawls.spotify.add_playlist("A", _items(0, 5))
    crawls.spotify.coming, crawls.spotify.retry_after = ["429"], "50"
    crawls.run(Jazz=[playlist])
    crawls.progress.waits.clear()
    crawls.run(Jazz=[playlist])
    ((reason, seconds),) = crawls.progress.waits
    assert reason == "rate limit of an earlier crawl"
    assert 40 < seconds <= 50


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
    playlist = crawls.spotify.add_playlist("A", _items(0, 3))
    del crawls.spotify.analyses[spotify_id("1")]
    crawls.spotify.quota = 4
    crawls.run(Jazz=[playlist])
    (crawls.folder / "partial" / "half.json.gz").write_bytes(b"half")
    with (crawls.folder / "passed_over.jsonl").open("ab") as file:
        file.write(b'{"kind":"track","id":"')
    crawls.spotify.quota = 1000
    assert crawls.run(Jazz=[playlist]).complete
    assert crawls.asked("audio-analysis") == [f"audio-analysis/{spotify_id('2')}"]
    assert list((crawls.folder / "partial").iterdir()) == []
