"""The crawl: playlists, then their tracks' analyses, then artists."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version as package_version
from itertools import chain, zip_longest

import msgspec

from components.spotify_crawl.answers import Artist, ListedTrack, Page, Playlist, UnusableItem, clean, listed_track
from components.spotify_crawl.api import ARTISTS_TOGETHER, CrawlStopped, SpotifyApi, Unavailable, Unreachable
from components.spotify_crawl.progress import Progress
from components.spotify_crawl.report import CrawlReport, Kind, PassedOver
from components.spotify_crawl.request import CrawlRequest, is_id
from components.spotify_crawl.store import Listing, NotAnAnalysis, Store

INTERRUPTED = "it was interrupted"

_FAILURES_IN_A_ROW = 5
_FORBIDDEN = 403
_GONE = 404
_CLOSED = (
    f"Spotify answers 403 to {_FAILURES_IN_A_ROW} audio analyses in a row: they are closed to apps made after"
    " 2024-11-27 and to apps in development mode. An app with an older extended quota is needed"
)


def crawl(request: CrawlRequest, store: Store, api: SpotifyApi, progress: Progress, code_version: str) -> CrawlReport:
    """Brings what is asked for into the store, and goes on where an earlier crawl ended.

    Whatever ends it early, an interruption by the user included, the store has labels for what it holds.

    Args:
        request: which playlists.
        store: where everything goes.
        api: where it comes from.
        progress: is told how it goes.
        code_version: of this package, for the tracks' metadata.

    Raises:
        PipelineInputError: Spotify does not know the credentials.
        OSError: the store cannot be written.
    """
    return _Crawl(request, store, api, progress, code_version).run()


class _Crawl:
    def __init__(
        self, request: CrawlRequest, store: Store, api: SpotifyApi, progress: Progress, code_version: str
    ) -> None:
        self._request = request
        self._store = store
        self._api = api
        self._progress = progress
        self._version = f"deepmusic {code_version}, spotipy {package_version('spotipy')}"
        self._started = datetime.now(timezone.utc)
        self._clock = time.monotonic()
        self._fetched = 0
        # Those of earlier crawls stand until they are listed anew: what ends a crawl early takes no labels away.
        remembered = {playlist: store.listing(playlist) for playlist in request.genre_of}
        self._listings = {playlist: listing for playlist, listing in remembered.items() if listing is not None}
        self._passed_over: dict[tuple[str, str], PassedOver] = {}
        self._unreached: set[tuple[str, str]] = set()
        # What the crawl that is gone on with was told is not there, is not asked for again.
        self._gone = {(item.kind, item.id): item for item in store.passed_over.records if item.gone}

    def run(self) -> CrawlReport:
        try:
            self._list_playlists()
            self._fetch_analyses()
            self._fetch_artists()
            # A fault is no answer: what it kept away is still to be asked for.
            stopped = f"Spotify did not answer for {len(self._unreached):,} of them" if self._unreached else ""
        except CrawlStopped as stop:
            stopped = str(stop)
        except KeyboardInterrupt:
            stopped = INTERRUPTED
        return self._close(stopped)

    # Playlists

    def _list_playlists(self) -> None:
        playlists = list(self._request.genre_of)
        self._progress.phase("playlists", len(playlists))
        failures = _Failures()
        for playlist in playlists:
            if not self._is_gone("playlist", playlist):
                try:
                    self._listings[playlist] = self._listing(playlist, self._listings.get(playlist))
                    failures.forget()
                except (Unavailable, Unreachable) as error:
                    self._pass_over("playlist", playlist, error)
                    failures.count(error, closed=None)
            self._progress.advance(("playlist", playlist) not in self._passed_over)

    def _listing(self, playlist: str, remembered: Listing | None) -> Listing:
        answer = self._api.playlist(playlist)
        snapshot, limit = clean(answer.snapshot_id), self._request.max_tracks_per_playlist
        if remembered is not None and (remembered.snapshot_id, remembered.max_tracks) == (snapshot, limit):
            return remembered
        tracks: dict[str, ListedTrack] = {}
        unusable: list[UnusableItem] = []
        for position, item in enumerate(self._items(playlist, answer)):
            if len(tracks) == limit:
                break
            found = listed_track(item, position)
            if isinstance(found, ListedTrack):
                tracks.setdefault(found.id, found)
            else:
                unusable.append(found)
        listing = Listing(playlist, clean(answer.name), snapshot, limit, tuple(tracks.values()), tuple(unusable))
        self._store.remember(listing)
        return listing

    def _items(self, playlist: str, answer: Playlist) -> Iterator[object]:
        """A playlist's items; the first come with the playlist itself."""
        form, page, offset = answer.form, answer.first_page, 0
        if page is None:
            form, page = self._next_page(playlist, form, offset)
        while True:
            yield from page.items
            offset += len(page.items)
            if page.next is None or not page.items:
                return
            form, page = self._next_page(playlist, form, offset)

    def _next_page(self, playlist: str, form: str, offset: int) -> tuple[str, Page]:
        try:
            return form, self._api.playlist_page(playlist, form, offset)
        except Unavailable:
            # Apps of before 2026 may have one form of the address, and newer ones the other.
            form = "items" if form == "tracks" else "tracks"
            return form, self._api.playlist_page(playlist, form, offset)

    # Tracks

    def _fetch_analyses(self) -> None:
        tracks = self._tracks()
        missing = [track for track in tracks.values() if track.id not in self._store]
        self._progress.phase("tracks", len(tracks), len(tracks) - len(missing))
        places = self._places()
        failures = _Failures()
        for track in missing:
            if not self._is_gone("track", track.id):
                try:
                    self._fetch_analysis(track, places[track.id])
                    failures.forget()
                except NotAnAnalysis as error:
                    self._pass_over("track", track.id, error)
                except (Unavailable, Unreachable) as error:
                    self._pass_over("track", track.id, error)
                    failures.count(error, closed=_CLOSED)
            self._progress.advance(track.id in self._store)

    def _fetch_analysis(self, track: ListedTrack, places: list[dict[str, str]]) -> None:
        analysis = self._api.audio_analysis(track.id)
        metadata = {
            **msgspec.to_builtins(track),
            "playlists": places,
            "fetched": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "fetched_by": self._version,
        }
        self._store.add(track.id, analysis, metadata)
        self._fetched += 1

    def _tracks(self) -> dict[str, ListedTrack]:
        """The playlists' tracks by id, of each genre in turn: a crawl that ends early has some of all."""
        by_genre = (
            chain.from_iterable(self._listings[playlist].tracks for playlist in playlists if playlist in self._listings)
            for playlists in self._request.playlists.values()
        )
        tracks: dict[str, ListedTrack] = {}
        for track in chain.from_iterable(zip_longest(*by_genre)):
            if track is not None:
                tracks.setdefault(track.id, track)
        return tracks

    def _places(self) -> dict[str, list[dict[str, str]]]:
        """The playlists that hold a track, by track id."""
        places: dict[str, list[dict[str, str]]] = {}
        for playlist, listing in self._listings.items():
            place = {"genre": self._request.genre_of[playlist], "id": playlist, "name": listing.name}
            for track in listing.tracks:
                places.setdefault(track.id, []).append(place)
        return places

    # Artists

    def _fetch_artists(self) -> None:
        known = {artist.id for artist in self._store.artists.records}
        listed = (artist.id for track in self._tracks().values() for artist in track.artists if artist.id)
        missing = [artist for artist in dict.fromkeys(listed) if artist not in known]
        starts = range(0, len(missing), ARTISTS_TOGETHER)
        self._progress.phase("artist batches", len(starts))
        for start in starts:
            together = missing[start : start + ARTISTS_TOGETHER]
            try:
                found = self._api.artists(together)
            except (Unavailable, Unreachable) as error:
                # One by one they would cost as many requests as the tracks; their names stand in the tracks already.
                self._pass_over("artist batch", f"{len(missing) - start} artists", error)
                return
            self._store.artists.add(*_cleaned(found))
            self._progress.advance(True)

    # The end

    def _close(self, stopped: str) -> CrawlReport:
        self._store.write_labels(self._label_rows())
        for listing in self._listings.values():
            for item in listing.unusable:
                place = listing.id, str(item.position)
                self._passed_over[place] = PassedOver("item", place[1], item.reason, playlist=listing.id)
        tracks = self._tracks()
        answered = self._passed_over.keys() - self._unreached
        left = sum(track not in self._store and ("track", track) not in answered for track in tracks)
        report = CrawlReport(
            request=self._request,
            version=self._version,
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._clock, 1),
            stopped=stopped,
            interrupted=stopped == INTERRUPTED,
            requests=self._api.requests,
            fetched=self._fetched,
            stored=sum(track in self._store for track in tracks),
            tracks=self._count_by_genre(),
            left=left,
            artists=len(self._store.artists.records),
            passed_over=tuple(self._passed_over.values()),
        )
        self._store.write_report(report)
        if report.complete:
            self._store.passed_over.clear()
        return report

    def _label_rows(self) -> Iterator[tuple[str, ...]]:
        tracks = self._tracks()
        for playlist, genre in self._request.genre_of.items():
            for listed in self._listings[playlist].tracks if playlist in self._listings else ():
                if listed.id in self._store:
                    # Playlists may name one track differently; its rows have to agree.
                    track = tracks[listed.id]
                    artist = track.artists[0] if track.artists else None
                    names = (artist.id or "", artist.name or "") if artist else ("", "")
                    yield (track.id, genre, *names, track.title, playlist)

    def _count_by_genre(self) -> dict[str, int]:
        stored = Counter(
            genre
            for track, places in self._places().items()
            if track in self._store
            for genre in {place["genre"] for place in places}
        )
        return {genre: stored[genre] for genre in self._request.playlists}

    def _is_gone(self, kind: Kind, name: str) -> bool:
        item = self._gone.get((kind, name))
        if item is None:
            return False
        self._passed_over[kind, name] = item
        return True

    def _pass_over(self, kind: Kind, name: str, error: Exception) -> None:
        gone = isinstance(error, Unavailable) and error.status == _GONE
        item = PassedOver(kind, name, str(error), gone=gone)
        self._passed_over[kind, name] = item
        if isinstance(error, Unreachable):
            self._unreached.add((kind, name))
        self._store.passed_over.add(item)


class _Failures:
    """Ends a crawl that is given nothing any more, instead of asking thousands of times."""

    def __init__(self) -> None:
        self._in_a_row: list[Exception] = []

    def forget(self) -> None:
        self._in_a_row = []

    def count(self, error: Exception, closed: str | None) -> None:
        """Counts a failure; raises CrawlStopped, with ``closed`` if that is what several refusals in a row mean."""
        self._in_a_row.append(error)
        last = self._in_a_row[-_FAILURES_IN_A_ROW:]
        if len(last) < _FAILURES_IN_A_ROW:
            return
        if all(isinstance(each, Unreachable) for each in last):
            raise CrawlStopped(f"Spotify cannot be reached ({error})")
        if closed and all(isinstance(each, Unavailable) and each.status == _FORBIDDEN for each in last):
            raise CrawlStopped(closed)


def _cleaned(artists: Iterable[Artist]) -> list[Artist]:
    return [
        Artist(artist.id, clean(artist.name), tuple(map(clean, artist.genres)))
        for artist in artists
        if is_id(artist.id)
    ]
