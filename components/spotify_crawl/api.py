"""Spotify's Web API through spotipy, with everything that can go wrong on the way sorted into three kinds.

What concerns one thing only (it is not there, or not for this app) is :class:`Unavailable`. What did not go away after
several attempts is :class:`Unreachable`. What ends a crawl is :class:`CrawlStopped`. All waiting is done here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import requests
import spotipy
import urllib3
from spotipy.cache_handler import MemoryCacheHandler
from spotipy.oauth2 import SpotifyClientCredentials, SpotifyOauthError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from components.spotify_crawl.answers import Artist, Artists, Page, Playlist
from components.spotify_crawl.credentials import ID_VARIABLE, SECRET_VARIABLE, Credentials, Endpoints
from components.spotify_crawl.session import BoundedSession
from deepmusic_genre.errors import PipelineInputError

Answer = TypeVar("Answer")

Wait = Callable[[str, float], None]
"""Waits so many seconds for a reason, and shows it."""

_ATTEMPTS = 6
_RATE_LIMITS = 20
_TIMEOUT_SECONDS = 30.0
_LONGEST_BACKOFF_SECONDS = 60.0
_WINDOW_SECONDS = 30.0
"""Spotify's rate limit looks at so many seconds: what is waited where it does not say how long."""
_PAGE_ITEMS = 50
ARTISTS_TOGETHER = 50

log = logging.getLogger("deepmusic.SpotifyCrawl")

# spotipy logs headers with tokens when debugging, and every failed attempt; what is worth knowing is told here.
logging.getLogger("spotipy").setLevel(logging.CRITICAL)


class Unavailable(Exception):
    """Spotify does not give what was asked for, and will not when asked again.

    Attributes:
        status: the HTTP status, 400 to 499.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"Spotify answers {status}")
        self.status = status


class Unreachable(Exception):
    """What was asked for could not be had in several attempts."""


class CrawlStopped(Exception):
    """The crawl cannot go on for now; the message says why."""


class _Fault(Exception):
    """An attempt failed, another may not."""


class _TokenRefused(_Fault):
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

    def __init__(
        self,
        credentials: Credentials,
        endpoints: Endpoints,
        wait: Wait,
        max_wait_seconds: float,
        backoff_seconds: float = 0.5,
    ) -> None:
        """Makes no request yet.

        Args:
            credentials: of the app; they and the tokens stay in memory.
            endpoints: where requests go.
            wait: waits, and shows it.
            max_wait_seconds: the longest ``Retry-After`` that is waited for; a longer one stops the crawl.
            backoff_seconds: first pause after a fault; it doubles with each, and as much again is random.
        """
        session = BoundedSession()
        # Plain HTTP is for a stand-in on this machine: no proxy of the environment's may see it.
        session.trust_env = endpoints.api.startswith("https:")
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
        self._max_wait_seconds = max_wait_seconds
        self.requests = 0
        backoff = wait_exponential_jitter(backoff_seconds, _LONGEST_BACKOFF_SECONDS, jitter=backoff_seconds)
        self._through_faults = Retrying(
            retry=retry_if_exception_type(_Fault),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=lambda state: 0.0 if isinstance(_cause(state), _TokenRefused) else backoff(state),
            before_sleep=_note,
            sleep=partial(wait, "no answer"),
            reraise=True,
        )
        self._through_rate_limits = Retrying(
            retry=retry_if_exception_type(_RateLimited),
            stop=stop_after_attempt(_RATE_LIMITS),
            wait=lambda state: getattr(_cause(state), "seconds", _WINDOW_SECONDS),
            before_sleep=_note,
            sleep=partial(wait, "rate limit"),
            reraise=True,
        )

    def playlist(self, playlist: str) -> Playlist:
        """A playlist with the first of its items."""
        return self._ask(Playlist, self._spotify.playlist, playlist, additional_types=("track", "episode"))

    def playlist_page(self, playlist: str, form: str, offset: int) -> Page:
        """Some of a playlist's items.

        Args:
            form: ``items``, or as it was before 2026 ``tracks``.
            offset: how many items come before.
        """
        # spotipy itself knows /items alone.
        path = f"playlists/{playlist}/{form}"
        return self._ask(
            Page, self._spotify._get, path, limit=_PAGE_ITEMS, offset=offset, additional_types="track,episode"
        )

    def artists(self, artists: Sequence[str]) -> list[Artist]:
        """Those of up to 50 artists that there are."""
        answer = self._ask(Artists, self._spotify.artists, artists)
        return [artist for artist in answer.artists if artist is not None]

    def audio_analysis(self, track: str) -> dict[str, Any]:
        """A track's audio analysis, as it comes."""
        return self._ask(dict[str, Any], self._spotify.audio_analysis, track)

    def _ask(self, of_type: type[Answer], request: Callable[..., Any], *arguments: Any, **named: Any) -> Answer:
        def attempt() -> Answer:
            return self._attempt(of_type, partial(request, *arguments, **named))

        try:
            return self._through_rate_limits(self._through_faults, attempt)
        except _TokenRefused as error:
            raise CrawlStopped("Spotify refuses the tokens that it gives out") from error
        except _RateLimited as error:
            raise CrawlStopped(f"Spotify asked for a pause {_RATE_LIMITS} times in a row") from error
        except _Fault as error:
            raise Unreachable(f"{error}, {_ATTEMPTS} times in a row") from error

    def _attempt(self, of_type: type[Answer], request: Callable[[], Any]) -> Answer:
        self.requests += 1
        try:
            return msgspec.convert(request(), of_type)
        except spotipy.SpotifyException as error:
            raise self._judged(error.http_status, error.headers, error.reason) from None
        except SpotifyOauthError as error:
            raise self._judged_token(error) from None
        except requests.RequestException as error:
            raise _Fault(f"no answer ({type(error).__name__})") from None
        except (msgspec.ValidationError, ValueError, AttributeError, TypeError, KeyError) as error:
            # spotipy and requests trip over answers of another shape, each in its own way.
            raise _Fault(f"an answer that is not in the documented form ({type(error).__name__})") from None

    def _judged(self, status: int, headers: Any, reason: str | None) -> Exception:
        """What an HTTP status of 400 or more means."""
        if status == 429 and reason == "QUOTA_EXCEEDED":
            return CrawlStopped("the app's quota at Spotify is spent")
        if status == 429:
            return self._rate_limited(headers.get("Retry-After"))
        if status == 401:
            self._tokens.save_token_to_cache(None)
            return _TokenRefused("Spotify answers 401")
        if status >= 500 or status == 408:
            return _Fault(f"Spotify answers {status}")
        return Unavailable(status)

    def _judged_token(self, error: SpotifyOauthError) -> Exception:
        response = getattr(error.__context__, "response", None)
        if response is None:
            return _Fault("no answer to the request for a token")
        if response.status_code in (400, 401, 403):
            return PipelineInputError(
                f"Spotify does not accept the credentials in {ID_VARIABLE} and {SECRET_VARIABLE} (it answers"
                f" {response.status_code})."
            )
        return self._judged(response.status_code, response.headers, None)

    def _rate_limited(self, retry_after: str | None) -> Exception:
        try:
            seconds = urllib3.Retry().parse_retry_after(retry_after) if retry_after else _WINDOW_SECONDS
        except urllib3.exceptions.InvalidHeader:
            seconds = _WINDOW_SECONDS
        if seconds > self._max_wait_seconds:
            return CrawlStopped(
                f"Spotify asks for a pause of {seconds / 60:,.0f} minutes, longer than spotify.max_wait_seconds ="
                f" {self._max_wait_seconds:g}"
            )
        return _RateLimited(seconds)


def _cause(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _note(state: RetryCallState) -> None:
    log.debug("%s; again in %.1f s", _cause(state), state.upcoming_sleep)
