"""A server on this machine that plays Spotify: its token endpoint and as much of its Web API as a crawl asks for."""

import base64
import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.tracks import analysis

CLIENT_ID = "0123456789abcdef0123456789abcdef"
CLIENT_SECRET = "fedcba9876543210fedcba9876543210"  # noqa: S105 - no secret of anybody's.
_PAGE = 100
_MOST_FEATURES = 100
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

Fault = Callable[["_Handler"], None]


def spotify_id(name: str) -> str:
    """An id in Spotify's form; equal names give equal ids."""
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in sha256(name.encode(errors="surrogatepass")).digest()[:22])


def track_item(name: str, artist: str = "Band", **values: Any) -> dict[str, Any]:
    """A track as it stands in a playlist."""
    artists = [{"id": spotify_id(artist), "name": artist, "type": "artist"}]
    track = {"id": spotify_id(name), "name": name, "type": "track", "is_local": False, "artists": artists}
    return {**track, "album": _album(artists), "duration_ms": 180_000, **values}


def _album(artists: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An album with all that Spotify's description requires of one."""
    name = spotify_id("Album")
    address = f"https://api.spotify.com/v1/albums/{name}"
    lists = {"artists": artists, "images": [], "available_markets": []}
    facts = {"album_type": "album", "total_tracks": 1, "release_date": "1959", "release_date_precision": "year"}
    addresses = {"external_urls": {}, "href": address, "uri": f"spotify:album:{name}"}
    return {"id": name, "name": "Album", "type": "album", **lists, **facts, **addresses}


def audio_features(track: str) -> dict[str, Any]:
    """A track's audio features, all that Spotify's description names; equal ids give equal values."""
    draws = random.Random(track)  # noqa: S311 - no secret is made of it.
    shares = ("acousticness", "danceability", "energy", "instrumentalness", "liveness", "speechiness", "valence")
    return {
        **{name: round(draws.random(), 4) for name in shares},
        "key": draws.randrange(-1, 12),
        "loudness": round(draws.uniform(-60, 0), 3),
        "mode": draws.randrange(2),
        "tempo": round(draws.uniform(50, 200), 3),
        "time_signature": draws.randrange(3, 8),
        "duration_ms": 180_000,
        "type": "audio_features",
        "id": track,
        "uri": f"spotify:track:{track}",
        "track_href": f"https://api.spotify.com/v1/tracks/{track}",
        "analysis_url": f"https://api.spotify.com/v1/audio-analysis/{track}",
    }


@dataclass
class Spotify:
    """What the server holds and how it behaves; may be changed while it runs.

    Attributes:
        playlists: by id, each with a name and items; an item is a track or None.
        analyses: by track id.
        features: audio features by track id.
        form: ``items`` as since 2026, or ``tracks``.
        forms_served: the forms of the address that are there.
        coming: faults that the next requests are answered with; see ``FAULTS``.
        shows_items: whether a playlist comes with the first of its items.
        rates: how often a fault comes otherwise, by its name.
        statuses: what a path is answered with, always; a number, or a number and a body.
        faults_of: the fault that a path is answered with, always, or a status.
        retry_after: the header's content where the status is 429 or 503, None for none.
        words: what a status of 403 or 404 is explained with.
        endless: whether a page names a next one even if there is none.
        ignores_offset: whether every page is the first one.
        claimed_total: what a playlist's items are said to be, None for what they are.
        slow_seconds: how long a slow answer goes on.
        rate_limit: how many requests are answered in so many seconds, None for all.
        quota: requests until the quota is spent.
        requests: paths that were asked for and not with a fault's answer, with how often.
        faults: how often each fault came.
    """

    playlists: dict[str, dict[str, Any]] = field(default_factory=dict)
    analyses: dict[str, dict[str, Any]] = field(default_factory=dict)
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    form: str = "items"
    forms_served: tuple[str, ...] = ("items",)
    coming: list[str] = field(default_factory=list)
    shows_items: bool = True
    rates: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int | tuple[int, bytes]] = field(default_factory=dict)
    faults_of: dict[str, str] = field(default_factory=dict)
    retry_after: str | None = "1"
    words: str = ""
    endless: bool = False
    ignores_offset: bool = False
    claimed_total: int | None = None
    slow_seconds: float = 0.1
    rate_limit: tuple[int, float] | None = None
    answered_at: deque[float] = field(default_factory=deque)
    quota: float = float("inf")
    credentials: tuple[str, str] = (CLIENT_ID, CLIENT_SECRET)
    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    tokens: set[str] = field(default_factory=set)
    all_tokens: list[str] = field(default_factory=list)
    draws: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - no secret is made of it.
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""
    _later: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def add_playlist(self, name: str, items: Sequence[dict[str, Any] | None]) -> str:
        """Adds a playlist, an analysis and audio features for each of its tracks; returns its id."""
        playlist = spotify_id(name)
        self.playlists[playlist] = {"name": name, "items": list(items)}
        for item in items:
            if item is not None and item["type"] == "track" and item["id"]:
                self.analyses.setdefault(item["id"], analysis(len(self.analyses)))
                self.features.setdefault(item["id"], audio_features(item["id"]))
        return playlist

    def after(self, requests: int, do: Callable[[], None]) -> None:
        """Does something before the first request that comes after so many."""
        self._later.append((requests, do))

    def pass_on(self) -> None:
        """Does what is due."""
        while self._later and self.total >= self._later[0][0]:
            self._later.pop(0)[1]()

    @property
    def total(self) -> int:
        """All requests for things, those with a fault's answer included."""
        return sum(self.requests.values()) + sum(self.faults.values())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name.
        pass

    def answer(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(content, bytes) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse_as(self, status: int | tuple[int, bytes]) -> None:
        if isinstance(status, int):
            self.refuse(status)
        else:
            self.answer(*status)

    def refuse(self, status: int, message: str = "", **more: str) -> None:
        retry_after = self.server.spotify.retry_after
        message = message or self.server.spotify.words
        headers = {"Retry-After": retry_after} if status in (429, 503) and retry_after is not None else {}
        self.answer(status, {"error": {"status": status, "message": message, **more}}, headers)

    def do_POST(self) -> None:
        spotify = self.server.spotify
        self.rfile.read(int(self.headers["Content-Length"]))
        expected = base64.b64encode(":".join(spotify.credentials).encode()).decode()
        if self.path in spotify.statuses:
            self.refuse_as(spotify.statuses[self.path])
        elif self.headers["Authorization"] != f"Basic {expected}":
            self.answer(400, {"error": "invalid_client", "error_description": "Invalid client"})
        else:
            with spotify.lock:
                token = f"token-{len(spotify.all_tokens)}-{sha256(spotify.address.encode()).hexdigest()}"
                spotify.all_tokens.append(token)
                spotify.tokens.add(token)
                spotify.requests[self.path] += 1
            self.answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def do_GET(self) -> None:
        spotify = self.server.spotify
        with spotify.lock:
            spotify.pass_on()
            known = self.headers["Authorization"] in {f"Bearer {token}" for token in spotify.tokens}
            fault = self._draw() if known else None
            if known and self._too_many():
                fault = "429"
            if fault is not None:
                spotify.faults[fault] += 1
            elif not known:
                spotify.faults["unknown token"] += 1
            else:
                spotify.requests[self.path] += 1
                spotify.quota -= 1
        if fault is not None:
            FAULTS[fault](self)
        elif not known:
            self.refuse(401, "The access token expired")
        elif spotify.quota < 0:
            self.refuse(429, reason="QUOTA_EXCEEDED")
        else:
            self._serve()

    def _too_many(self) -> bool:
        """Whether this one is beyond the rate limit's rolling window; it then names the seconds until it moves on."""
        spotify, now = self.server.spotify, time.monotonic()
        if spotify.rate_limit is None:
            return False
        most, seconds = spotify.rate_limit
        while spotify.answered_at and spotify.answered_at[0] <= now - seconds:
            spotify.answered_at.popleft()
        if len(spotify.answered_at) >= most:
            spotify.retry_after = str(ceil(spotify.answered_at[0] + seconds - now))
            return True
        spotify.answered_at.append(now)
        return False

    def _draw(self) -> str | None:
        fault = self.server.spotify.faults_of.get(urlsplit(self.path).path)
        if fault is not None:
            return fault
        if self.server.spotify.coming:
            return self.server.spotify.coming.pop(0)
        number = self.server.spotify.draws.random()
        for fault, rate in self.server.spotify.rates.items():
            if number < rate:
                return fault
            number -= rate
        return None

    def _serve(self) -> None:
        spotify, url = self.server.spotify, urlsplit(self.path)
        path = url.path.rstrip("/")
        kind, *rest = path.removeprefix("/v1/").split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status = spotify.statuses.get(path)
        if status is not None:
            self.refuse_as(status)
        elif kind == "audio-analysis" and rest[0] in spotify.analyses:
            self.answer(200, spotify.analyses[rest[0]])
        elif kind == "audio-features" and not rest:
            self._serve_audio_features(query["ids"].split(","))
        elif kind == "playlists" and rest[0] in spotify.playlists:
            self._serve_playlist(rest, query)
        else:
            self.refuse(404)

    def _serve_audio_features(self, tracks: list[str]) -> None:
        """In the order of the ids, with null for what it does not know."""
        if len(tracks) > _MOST_FEATURES:
            self.refuse(400, "Too many ids requested")
        else:
            known = self.server.spotify.features
            self.answer(200, {"audio_features": [known.get(track) for track in tracks]})

    def _serve_playlist(self, rest: list[str], query: dict[str, str]) -> None:
        spotify = self.server.spotify
        playlist = spotify.playlists[rest[0]]
        if len(rest) == 1:
            snapshot = sha256(json.dumps(playlist).encode()).hexdigest()
            head = {"id": rest[0], "name": playlist["name"], "snapshot_id": snapshot}
            page = self._page(rest[0], 0, _PAGE)
            self.answer(200, {**head, **({spotify.form: page} if spotify.shows_items else {})})
        elif rest[1] in spotify.forms_served:
            self.answer(200, self._page(rest[0], int(query["offset"]), int(query["limit"])))
        else:
            self.refuse(403)

    def _page(self, playlist: str, offset: int, limit: int) -> dict[str, Any]:
        assert limit <= _PAGE
        spotify = self.server.spotify
        items = spotify.playlists[playlist]["items"]
        total = len(items) if spotify.claimed_total is None else spotify.claimed_total
        if spotify.ignores_offset:
            offset = 0
        key = "item" if spotify.form == "items" else "track"
        page = [{key: item, "is_local": bool(item and item.get("is_local"))} for item in items[offset : offset + limit]]
        # Following an address that an answer gives would send the token there.
        more = "http://203.0.113.1/elsewhere" if spotify.endless or offset + limit < len(items) else None
        href = f"{spotify.address}/v1/playlists/{playlist}/{spotify.form}"
        return {
            "href": href,
            "items": page,
            "next": more,
            "previous": None,
            "total": total,
            "offset": offset,
            "limit": limit,
        }


def _drop(handler: _Handler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(2)


def _expire(handler: _Handler) -> None:
    handler.server.spotify.tokens.clear()
    handler.refuse(401, "The access token expired")


def _truncate(handler: _Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b'{"segments": [')
    _drop(handler)


def _slow(handler: _Handler) -> None:
    """A byte now and then: no single one of them is late."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    end = time.monotonic() + handler.server.spotify.slow_seconds
    with suppress(OSError):
        while time.monotonic() < end:
            handler.wfile.write(b" ")
            time.sleep(0.05)
    handler.close_connection = True


FAULTS: dict[str, Fault] = {
    "429": lambda handler: handler.refuse(429, "API rate limit exceeded"),
    "403": lambda handler: handler.refuse(403),
    "500": lambda handler: handler.refuse(500),
    "504": lambda handler: handler.answer(504, b""),
    "503 in HTML": lambda handler: handler.answer(503, b"<html>Service Unavailable</html>"),
    "503 in text": lambda handler: handler.answer(503, {"error": "upstream"}),
    "drop": _drop,
    "expire": _expire,
    "truncate": _truncate,
    "HTML": lambda handler: handler.answer(200, b"<html>Log in to the hotel's network</html>"),
    "cut JSON": lambda handler: handler.answer(200, b'{"segments": ['),
    "list": lambda handler: handler.answer(200, []),
    "503 with a pause": lambda handler: handler.refuse(503, "try later"),
    "slow": _slow,
    "redirect": lambda handler: handler.answer(302, b"", {"Location": "http://203.0.113.1/"}),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, spotify: Spotify) -> None:
        self.spotify = spotify
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of an answer is no fault."""


@contextmanager
def serve(spotify: Spotify) -> Iterator[Spotify]:
    """Serves for as long as the context lasts, at ``spotify.address``."""
    server = _Server(spotify)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    spotify.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield spotify
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
