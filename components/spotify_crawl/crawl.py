"""The crawl: playlists, then their tracks' audio features and analyses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib.metadata import version as package_version
from itertools import chain, cycle, zip_longest

import msgspec

from components.spotify_crawl.answers import ListedTrack
from components.spotify_crawl.api import MOST_AUDIO_FEATURES, SpotifyApi, Unavailable, Unreachable
from components.spotify_crawl.listing import list_playlist
from components.spotify_crawl.patience import Patience, Probe
from components.spotify_crawl.progress import Progress
from components.spotify_crawl.report import CrawlReport, Kind, PassedOver
from components.spotify_crawl.request import CrawlRequest
from components.spotify_crawl.store import NotAnAnalysis, Store
from components.spotify_crawl.waits import CrawlStopped, now
from deepmusic_genre.tracks.audio_features import known_audio_features

INTERRUPTED = "it was interrupted"

PUT_OFF = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
"""How long what was not answered is left alone, after the first crawl in which it was not, the second ...; then it is
given up."""

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_AFTER_OUTAGE = timedelta(minutes=10)
_OUTAGES_FOR_ONE = 3
_REFUSALS_IN_A_ROW = 5
_FAILED_BATCHES_IN_A_ROW = 3
_FORBIDDEN = 403
_GONE = 404
_EDITORIAL = "37i9"
_CLOSED = (
    "Audio analyses are closed to apps made after 2024-11-27 and to apps in development mode. An app with an older"
    " extended quota is needed"
)


def crawl(
    request: CrawlRequest,
    store: Store,
    api: SpotifyApi,
    patience: Patience,
    progress: Progress,
    code_version: str,
) -> CrawlReport:
    """Brings what is asked for into the store, and goes on where an earlier crawl ended.

    Whatever ends it early, an interruption by the user included, the store has labels for what it holds.

    Args:
        request: which playlists.
        store: where everything goes.
        api: where it comes from.
        patience: waits for the end of outages, and of what Spotify asked an earlier crawl for.
        progress: is told how it goes.
        code_version: of this package, for the tracks' metadata.

    Raises:
        PipelineInputError: Spotify does not know the credentials.
        OSError: the store cannot be written.
    """
    return _Crawl(request, store, api, patience, progress, code_version).run()


class _Crawl:
    def __init__(
        self,
        request: CrawlRequest,
        store: Store,
        api: SpotifyApi,
        patience: Patience,
        progress: Progress,
        code_version: str,
    ) -> None:
        self._request = request
        self._store = store
        self._api = api
        self._patience = patience
        self._progress = progress
        self._version = f"deepmusic {code_version}, spotipy {package_version('spotipy')}"
        self._started = now()
        self._clock = time.monotonic()
        self._fetched = 0
        # Those of earlier crawls stand until they are listed anew: what ends a crawl early takes no labels away.
        remembered = {playlist: store.listing(playlist) for playlist in request.genre_of}
        self._listings = {playlist: listing for playlist, listing in remembered.items() if listing is not None}
        self._passed_over: dict[tuple[str, str], PassedOver] = {}
        # What the crawl that is gone on with could not have; the latest record counts.
        self._earlier = {(item.kind, item.id): item for item in store.passed_over.records}
        self._refused: list[PassedOver] = []
        self._no_audio_features = ""

    def run(self) -> CrawlReport:
        try:
            self._list_playlists()
            self._fetch_audio_features()
            self._fetch_analyses()
            return self._close(self._unanswered())
        except CrawlStopped as stop:
            return self._close(stop)
        except KeyboardInterrupt:
            return self._close(CrawlStopped(INTERRUPTED))

    def _unanswered(self) -> CrawlStopped | None:
        """Why the crawl is not complete although it went through everything: a fault is no answer."""
        again = [item.again for item in self._passed_over.values() if item.again]
        return CrawlStopped(f"Spotify did not answer for {len(again):,} of them", min(again)) if again else None

    # Playlists

    def _list_playlists(self) -> None:
        playlists = list(self._request.genre_of)
        self._progress.phase("playlists", len(playlists))
        self._patience.waits.until(self._store.pause)
        others = cycle(_rotated(playlists))
        for playlist in self._in_turn("playlist", playlists):
            if not self._is_put_off("playlist", playlist):
                try:
                    self._patiently(partial(self._list, playlist), self._probes_of_playlists(others))
                except (Unavailable, Unreachable) as error:
                    self._pass_over("playlist", playlist, error)
            self._progress.advance(("playlist", playlist) not in self._passed_over)

    def _list(self, playlist: str) -> None:
        remembered = self._listings.get(playlist)
        limit = self._request.max_tracks_per_playlist
        listing = list_playlist(self._api, playlist, limit, remembered, self._progress.detail)
        if listing is not remembered:
            self._store.remember(listing)
        self._listings[playlist] = listing

    def _probes_of_playlists(self, others: Iterator[str]) -> Iterator[Probe]:
        """Requests for something else: for a track that was given before, then for each of the playlists in turn."""
        given = self._store.any_of(self._tracks())
        if given is not None:
            yield partial(self._api.audio_analysis, given, attempts=1)
        for playlist in others:
            yield partial(self._api.playlist, playlist, attempts=1)

    # Tracks

    def _fetch_audio_features(self) -> None:
        """Fetches them before the analyses, to be stored with these. Nothing needs them: without them it goes on."""
        tracks = self._tracks()
        missing = [track for track in tracks if self._store.audio_features(track) is None]
        if not missing:
            return
        self._progress.phase("audio features", len(tracks), len(tracks) - len(missing))
        others = cycle(_rotated(missing))
        failed = 0
        for start in range(0, len(missing), MOST_AUDIO_FEATURES):
            batch = missing[start : start + MOST_AUDIO_FEATURES]
            try:
                self._patiently(partial(self._fetch_batch, batch), self._probes_of_tracks(others))
                failed = 0
            except (Unavailable, Unreachable) as error:
                self._no_audio_features = str(error)
                failed += 1
                closed = isinstance(error, Unavailable) and error.status in (_FORBIDDEN, _GONE)
                if closed or failed == _FAILED_BATCHES_IN_A_ROW:
                    return
            for track in batch:
                self._progress.advance(bool(self._store.audio_features(track)))

    def _fetch_batch(self, tracks: list[str]) -> None:
        found = self._api.audio_features(tracks)
        self._store.add_audio_features({track: known_audio_features(found.get(track, {})) for track in tracks})

    def _fetch_analyses(self) -> None:
        tracks = self._tracks()
        missing = [track for track in tracks if track not in self._store]
        self._progress.phase("tracks", len(tracks), len(tracks) - len(missing))
        places = self._places()
        others = cycle(_rotated(missing))
        for track in self._in_turn("track", missing):
            if not self._is_put_off("track", track):
                self._fetch(tracks[track], places[track], self._probes_of_tracks(others))
            self._progress.advance(track in self._store)

    def _fetch(self, track: ListedTrack, places: list[dict[str, str]], probes: Iterator[Probe]) -> None:
        try:
            self._patiently(partial(self._fetch_analysis, track, places), probes)
        except NotAnAnalysis as error:
            self._pass_over("track", track.id, error)
        except Unavailable as error:
            self._pass_over("track", track.id, error)
            if error.status == _FORBIDDEN:
                self._refused.append(self._passed_over["track", track.id])
                self._require_open(error)
                return
        except Unreachable as error:
            self._pass_over("track", track.id, error)
            return
        self._not_closed()

    def _fetch_analysis(self, track: ListedTrack, places: list[dict[str, str]]) -> None:
        analysis = self._api.audio_analysis(track.id)
        metadata = {
            **msgspec.to_builtins(track),
            "playlists": places,
            "fetched": now().isoformat(timespec="seconds"),
            "fetched_by": self._version,
        }
        self._store.add(track.id, analysis, metadata)
        self._fetched += 1

    def _probes_of_tracks(self, others: Iterator[str]) -> Iterator[Probe]:
        """Requests for a track that was given before or, if none ever was, for each that is missing in turn."""
        given = self._store.any_of(self._tracks())
        for track in others if given is None else cycle([given]):
            yield partial(self._api.audio_analysis, track, attempts=1)

    def _require_open(self, refusal: Unavailable) -> None:
        """Raises CrawlStopped if audio analyses are closed to the app, and not only some tracks."""
        if len(self._refused) < _REFUSALS_IN_A_ROW:
            return
        given = self._store.any_of(self._tracks())
        if any(map(self._is_given, self._spread() if given is None else [given])):
            self._not_closed()
            return
        for item in self._refused:
            del self._passed_over[item.kind, item.id]
        words = f" ({refusal.words})" if refusal.words else ""
        before = ", and to others" if given is None else ", and to one that it gave before"
        raise CrawlStopped(
            f"Spotify answers 403 to {_REFUSALS_IN_A_ROW} audio analyses in a row{before}{words}. {_CLOSED}", final=True
        )

    def _spread(self) -> list[str]:
        """A few other tracks from all over the playlists."""
        refused = {item.id for item in self._refused}
        others = [track for track in self._tracks() if track not in refused]
        return others[:: max(1, len(others) // _REFUSALS_IN_A_ROW)][:_REFUSALS_IN_A_ROW]

    def _is_given(self, track: str) -> bool:
        try:
            self._patiently(
                partial(self._api.audio_analysis, track), cycle([partial(self._api.audio_analysis, track, attempts=1)])
            )
        except Unavailable as error:
            return error.status != _FORBIDDEN
        except Unreachable:
            pass
        return True

    def _not_closed(self) -> None:
        """Something was given or is gone: those that were refused before are refused one by one, and for good."""
        if self._refused:
            self._store.passed_over.add(*self._refused)
            self._refused = []

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

    # What is not given

    def _in_turn(self, kind: Kind, names: Iterable[str]) -> list[str]:
        """What was not answered in an earlier crawl comes last, the longest ago first."""
        earlier = {name: self._earlier[kind, name].again for name in names if (kind, name) in self._earlier}
        return sorted(names, key=lambda name: earlier.get(name) or _LONG_AGO)

    def _is_put_off(self, kind: Kind, name: str) -> bool:
        """Whether it is passed over without asking: it is gone, or was not answered a short while ago."""
        item = self._earlier.get((kind, name))
        if item is None or not (item.gone or (item.again or _LONG_AGO) > now()):
            return False
        self._passed_over[kind, name] = item
        return True

    def _patiently(self, ask: Callable[[], object], probes: Iterator[Probe]) -> None:
        """Asks for something, and again after an outage of everything."""
        for _ in range(_OUTAGES_FOR_ONE):
            try:
                ask()
                return
            except Unreachable:
                if not self._sat_out(probes):
                    raise
        ask()

    def _sat_out(self, probes: Iterator[Probe]) -> bool:
        try:
            return self._patience.sit_out(probes)
        except Unreachable as error:
            raise self._out_of_reach(error) from None

    def _out_of_reach(self, error: Unreachable) -> CrawlStopped:
        come_back = now() + max(_AFTER_OUTAGE, timedelta(seconds=error.retry_after))
        try:
            self._api.playlist(next(iter(self._request.genre_of)), attempts=1)
        except Unreachable:
            return CrawlStopped(f"Spotify cannot be reached ({error})", come_back)
        except Unavailable:
            pass
        return CrawlStopped(f"Spotify answers, but gives no audio analysis ({error})", come_back)

    def _pass_over(self, kind: Kind, name: str, error: Exception) -> None:
        if isinstance(error, Unreachable):
            item = self._put_off(kind, name, error)
        else:
            status = error.status if isinstance(error, Unavailable) else None
            # Who may have a playlist changes from one day to the next.
            gone = kind == "track" or status == _GONE
            item = PassedOver(kind, name, f"{error}{_hint(kind, name, status)}", gone=gone)
        self._passed_over[kind, name] = item
        if isinstance(error, Unavailable) and error.status == _FORBIDDEN:
            return  # Whether it means this one only, shows later.
        self._store.passed_over.add(item)

    def _put_off(self, kind: Kind, name: str, error: Unreachable) -> PassedOver:
        earlier = self._earlier.get((kind, name))
        times = 1 if earlier is None else earlier.times + 1
        if times > len(PUT_OFF):
            return PassedOver(kind, name, f"{error}, and given up after {times} crawls", gone=True, times=times)
        again = now().replace(microsecond=0) + PUT_OFF[times - 1]
        return PassedOver(kind, name, str(error), again=again, times=times)

    # The end

    def _close(self, stop: CrawlStopped | None) -> CrawlReport:
        self._store.write_labels(self._label_rows())
        for listing in self._listings.values():
            for item in listing.unusable:
                place = listing.id, str(item.position)
                self._passed_over[place] = PassedOver("item", place[1], item.reason, playlist=listing.id)
            if listing.short:
                self._passed_over["listing", listing.id] = PassedOver("listing", listing.id, listing.short)
        tracks = self._tracks()
        answered = {name for (kind, name), item in self._passed_over.items() if kind == "track" and not item.again}
        stopped = "" if stop is None else str(stop)
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
            left=sum(track not in self._store and track not in answered for track in tracks),
            passed_over=tuple(self._passed_over.values()),
            unlisted=sum(playlist not in self._listings for playlist in self._request.genre_of),
            come_back=None if stop is None else stop.come_back,
            final=stop is not None and stop.final,
            audio_features=sum(bool(self._store.audio_features(track)) for track in tracks if track in self._store),
            no_audio_features=self._no_audio_features,
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


def _rotated(names: list[str]) -> list[str]:
    """So that what is asked for instead of the first is another one, if there is another one."""
    return names[1:] + names[:1]


def _hint(kind: Kind, name: str, status: int | None) -> str:
    if kind == "playlist" and name.startswith(_EDITORIAL) and status in (_FORBIDDEN, _GONE):
        return " (Spotify closed its own playlists to apps made after 2024-11-27)"
    if kind == "playlist" and status == _FORBIDDEN:
        return " (in development mode an app is given only the playlists of its own users)"
    return ""
