"""Spotify's Web API through spotipy, with everything that can go wrong on the way sorted into three kinds.

What concerns one thing only (it is not there, or not for this app) is :class:`Unavailable`. What did not go away after
several attempts is :class:`Unreachable`. What ends a crawl is :class:`~.waits.CrawlStopped`. All waiting is done here.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import spotipy
from spotipy.cache_handler import MemoryCacheHandler
from spotipy.oauth2 import SpotifyClientCredentials

from components.spotify_crawl.answers import ManyAudioFeatures, Page, Playlist, clean
from components.spotify_crawl.credentials import ID_VARIABLE, SECRET_VARIABLE, Credentials, Endpoints
from components.spotify_crawl.request import Access, is_loopback
from components.spotify_crawl.session import BoundedSession, Refused
from components.spotify_crawl.waits import WINDOW_SECONDS, CrawlStopped, Waits, seconds_asked_for
from deepmusic_genre.errors import PipelineInputError

Answer = TypeVar("Answer")

MOST_AUDIO_FEATURES = 100
"""Tracks whose audio features one request may ask for."""

_ATTEMPTS = 6
_RATE_LIMITS = 20
_TIMEOUT_SECONDS = 30.0
_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0
_PAGE_ITEMS = 50
_BOTH_TYPES = "track,episode"

log = logging.getLogger("deepmusic.SpotifyCrawl")

# spotipy logs headers with tokens when debugging, and every failed attempt; what is worth knowing is told here.
logging.getLogger("spotipy").setLevel(logging.CRITICAL)


class Unavailable(Exception):
    """Spotify does not give what was asked for, and will not when asked again.

    Attributes:
        status: the HTTP status, 400 to 499.
        words: what Spotify says about it, empty where it says nothing.
    """

    def __init__(self, status: int, words: str = "") -> None:
        super().__init__(f"Spotify answers {status}{words and f': {words}'}")
        self.status = status
        self.words = words


class Unreachable(Exception):
    """What was asked for could not be had in several attempts.

    Attributes:
        retry_after: how many seconds Spotify asked to be left alone, 0 for none.
    """

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _Fault(Exception):
    """An attempt failed, another may not."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _TokenRefused(Exception):
    pass


class _RateLimited(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"rate limit, Retry-After {seconds:g} s")
        self.seconds = seconds


class SpotifyApi:
    """The requests that a crawl makes.

    Every method raises Unavailable, Unreachable or CrawlStopped as the module says, and PipelineInputError if Spotify
    does not know the credentials.

    Attributes:
        requests: how many were made, without those for tokens.
    """

    def __init__(self, credentials: Credentials, endpoints: Endpoints, access: Access, waits: Waits) -> None:
        """Makes no request yet.

        Args:
            credentials: of the app; they and the tokens stay in memory.
            endpoints: where requests go.
            access: how often it may be asked.
            waits: what is waited with.
        """
        session = BoundedSession(access.requests_per_second)
        # No proxy of the environment's may see what goes to this machine in plain text.
        session.trust_env = not is_loopback(endpoints.api)
        self._credentials = credentials
        self._token_path = urlsplit(endpoints.token).path
        self._tokens = MemoryCacheHandler()
        auth = SpotifyClientCredentials(
            credentials.client_id,
            credentials.client_secret,
            requests_session=session,
            requests_timeout=_TIMEOUT_SECONDS,
            cache_handler=self._tokens,
        )
        auth.OAUTH_TOKEN_URL = endpoints.token
        # With a session of ours spotipy mounts none of its silent retries; retries=0 says the same.
        self._spotify = spotipy.Spotify(
            auth_manager=auth, requests_session=session, requests_timeout=_TIMEOUT_SECONDS, retries=0
        )
        self._spotify.prefix = endpoints.api
        self._waits = waits
        self.requests = 0

    def playlist(self, playlist: str, attempts: int = _ATTEMPTS) -> Playlist:
        """A playlist with the first of its items."""
        return self._ask(Playlist, attempts, f"playlists/{playlist}", additional_types=_BOTH_TYPES)

    def playlist_page(self, playlist: str, form: str, offset: int) -> Page:
        """Some of a playlist's items.

        Args:
            form: ``items``, or as it was before 2026 ``tracks``.
            offset: how many items come before.
        """
        path = f"playlists/{playlist}/{form}"
        return self._ask(Page, _ATTEMPTS, path, limit=_PAGE_ITEMS, offset=offset, additional_types=_BOTH_TYPES)

    def audio_analysis(self, track: str, attempts: int = _ATTEMPTS) -> dict[str, Any]:
        """A track's audio analysis, as it comes."""
        return self._ask(dict[str, Any], attempts, f"audio-analysis/{track}")

    def audio_features(self, tracks: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Audio features of up to :data:`MOST_AUDIO_FEATURES` tracks, as they come, by id, of those that have any."""
        answers = self._ask(ManyAudioFeatures, _ATTEMPTS, "audio-features", ids=",".join(tracks)).audio_features
        if len(answers) != len(tracks):
            raise Unreachable(f"Spotify answers with {len(answers)} audio features for {len(tracks)} tracks")
        features = {item["id"]: item for item in answers if isinstance(item, dict) and isinstance(item.get("id"), str)}
        return {track: features[track] for track in tracks if track in features}

    def _ask(self, of_type: type[Answer], attempts: int, path: str, **parameters: Any) -> Answer:
        faults = pauses = refusals = 0
        while True:
            try:
                return self._attempt(of_type, path, parameters)
            except _RateLimited as limit:
                log.debug("%s", limit)
                pauses += 1
                if pauses == _RATE_LIMITS:
                    raise CrawlStopped(f"Spotify asked for a pause {_RATE_LIMITS} times in a row") from limit
                least = min(2.0 ** (pauses - 1), _LONGEST_BACKOFF_SECONDS)
                self._waits.asked_for("rate limit", limit.seconds, least)
            except _TokenRefused as refusal:
                refusals += 1
                if refusals == _ATTEMPTS:
                    raise CrawlStopped("Spotify refuses the tokens that it gives out") from refusal
            except _Fault as fault:
                faults += 1
                log.debug("%s, for the %d. time", fault, faults)
                if faults >= attempts:
                    text = f"{fault}, {faults} times in a row" if faults > 1 else str(fault)
                    raise Unreachable(text, fault.retry_after) from fault
                self._wait_after(fault, faults)

    def _wait_after(self, fault: _Fault, faults: int) -> None:
        pause = min(_BACKOFF_SECONDS * 2 ** (faults - 1), _LONGEST_BACKOFF_SECONDS)
        pause += random.uniform(0, _BACKOFF_SECONDS)  # noqa: S311 - no secret is made of it.
        self._waits.for_an_answer(pause, fault.retry_after)

    def _attempt(self, of_type: type[Answer], path: str, parameters: dict[str, Any]) -> Answer:
        self.requests += 1
        try:
            # spotipy's own methods know neither the forms of a playlist's items nor the paths without a last slash.
            return msgspec.convert(self._spotify._get(path, **parameters), of_type)
        except Refused as error:
            raise self._judged(error) from None
        except requests.RequestException as error:
            raise _Fault(f"no answer ({type(error).__name__})") from None
        except (msgspec.ValidationError, ValueError, AttributeError, TypeError, KeyError) as error:
            # spotipy and requests trip over answers of another shape, each in its own way.
            raise _Fault(f"an answer that is not in the documented form ({type(error).__name__})") from None

    def _judged(self, error: Refused) -> Exception:
        """What an HTTP status of 300 or more means."""
        words = self._without_secrets(error.words)
        asked = seconds_asked_for(error.retry_after)
        if error.status == 429 and error.reason == "QUOTA_EXCEEDED":
            return CrawlStopped("the app's quota at Spotify is spent")
        if error.status == 429:
            return _RateLimited(WINDOW_SECONDS if asked is None else asked)
        if error.status < 400 or error.status >= 500 or error.status == 408:
            return _Fault(f"Spotify answers {error.status}{words and f': {words}'}", asked or 0.0)
        if urlsplit(error.url).path == self._token_path:
            return PipelineInputError(
                f"Spotify does not accept the credentials in {ID_VARIABLE} and {SECRET_VARIABLE} (it answers"
                f" {error.status}{words and f': {words}'})."
            )
        if error.status == 401:
            self._tokens.save_token_to_cache(None)
            return _TokenRefused()
        return Unavailable(error.status, words)

    def _without_secrets(self, words: str) -> str:
        token = (self._tokens.get_cached_token() or {}).get("access_token")
        for secret in (self._credentials.client_secret, self._credentials.client_id, token):
            words = words.replace(secret, "...") if secret else words
        return clean(words)
