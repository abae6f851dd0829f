"""Tests of the requests to Spotify: through the real spotipy, over real HTTP."""

import logging
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from components.spotify_crawl.api import SpotifyApi, Unavailable, Unreachable
from components.spotify_crawl.credentials import Credentials, Endpoints, endpoints, read_credentials
from components.spotify_crawl.request import SPOTIFY, Access, api_url, playlist_id
from components.spotify_crawl.waits import CrawlStopped, Waits
from deepmusic_genre.errors import PipelineInputError
from tests.support.spotify_server import CLIENT_ID, CLIENT_SECRET, FAULTS, Spotify, serve, track_item

TOKEN_PATH = "/api/token"  # noqa: S105 - an address.
WRONG = "wrongwrongwrong"


@pytest.fixture
def spotify() -> Iterator[Spotify]:
    with serve(Spotify()) as server:
        server.add_playlist("A", [track_item("a"), track_item("b")])
        yield server


class _Client:
    """The API, with the waits that it asked for instead of waiting."""

    def __init__(self, spotify: Spotify, secret: str = CLIENT_SECRET, requests_per_second: float = 10_000) -> None:
        self.waits: list[tuple[str, float]] = []
        self.pauses: list[datetime] = []
        self.track = next(iter(spotify.analyses))
        self.api = SpotifyApi(
            Credentials(CLIENT_ID, secret),
            Endpoints(f"{spotify.address}/v1/", spotify.address + TOKEN_PATH),
            Access(spotify.address, requests_per_second, max_wait_seconds=60, patience_seconds=90),
            Waits(lambda reason, seconds: self.waits.append((reason, seconds)), 60, self.pauses.append),
        )


def test_an_analysis_is_what_the_server_holds(spotify: Spotify) -> None:
    client = _Client(spotify)
    assert client.api.audio_analysis(client.track) == spotify.analyses[client.track]
    assert client.waits == []


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"403"}))
def test_a_fault_that_goes_away_costs_a_request_each_time(fault: str, spotify: Spotify) -> None:
    spotify.coming = [fault, fault]
    client = _Client(spotify)
    assert client.api.audio_analysis(client.track) == spotify.analyses[client.track]
    assert client.api.requests == 3
    assert spotify.faults == {fault: 2}


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"403", "429", "expire", "503 with a pause"}))
def test_a_fault_that_stays_is_given_up_after_six_attempts_with_growing_pauses(fault: str, spotify: Spotify) -> None:
    spotify.rates = {fault: 1.0}
    client = _Client(spotify)
    with pytest.raises(Unreachable, match="6 times in a row"):
        client.api.audio_analysis(client.track)
    assert spotify.faults == {fault: 6}
    seconds = [wait for _, wait in client.waits]
    bounds = [0.5, 1, 2, 4, 8]
    assert all(bound <= wait <= bound + 0.5 for bound, wait in zip(bounds, seconds, strict=True))
    assert len({wait % 0.5 for wait in seconds}) == 5, "no jitter"


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_what_is_not_given_is_not_asked_for_again(status: int, spotify: Spotify) -> None:
    client = _Client(spotify)
    spotify.statuses = {f"/v1/audio-analysis/{client.track}": status}
    with pytest.raises(Unavailable, match=f"Spotify answers {status}"):
        client.api.audio_analysis(client.track)
    assert client.api.requests == 1


# Rate limits


def _date(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 1), (None, 30), ("soon", 30), ("-5", 30), ("", 30)],
)
def test_the_pause_is_as_long_as_spotify_asks_for(header: str | None, seconds: float, spotify: Spotify) -> None:
    assert _waited(spotify, header) == seconds


@pytest.mark.parametrize(("ahead", "most", "least"), [(60, 60, 50), (-100, 1, 1)])
def test_the_pause_lasts_until_the_date_that_spotify_names(
    ahead: float, most: float, least: float, spotify: Spotify
) -> None:
    assert least <= _waited(spotify, _date(ahead)) <= most


def _waited(spotify: Spotify, header: str | None) -> float:
    spotify.coming, spotify.retry_after = ["429"], header
    client = _Client(spotify)
    client.api.audio_analysis(client.track)
    ((reason, waited),) = client.waits
    assert reason == "rate limit"
    return waited


@pytest.mark.parametrize("header", ["61", "86400", "date", "9" * 30])
def test_a_pause_that_is_too_long_stops_the_crawl(header: str, spotify: Spotify) -> None:
    spotify.coming, spotify.retry_after = ["429"], _date(3600) if header == "date" else header
    client = _Client(spotify)
    with pytest.raises(CrawlStopped, match="max_wait_seconds = 60"):
        client.api.audio_analysis(client.track)
    assert client.waits == []


@pytest.mark.parametrize("header", ["0", "1"])
def test_pauses_grow_and_do_not_go_on_for_ever(header: str, spotify: Spotify) -> None:
    spotify.rates, spotify.retry_after = {"429": 1.0}, header
    client = _Client(spotify)
    with pytest.raises(CrawlStopped, match="20 times in a row"):
        client.api.audio_analysis(client.track)
    assert spotify.faults == {"429": 20}
    assert [seconds for _, seconds in client.waits] == [1, 2, 4, 8, 16, 32, *[60] * 13]


@pytest.mark.parametrize("path", ["/v1/audio-analysis/", TOKEN_PATH])
def test_a_pause_of_many_hours_is_said_and_kept_in_full(path: str, spotify: Spotify) -> None:
    client = _Client(spotify)
    spotify.statuses = {path if path == TOKEN_PATH else f"{path}{client.track}": 429}
    spotify.retry_after = "82173"
    with pytest.raises(CrawlStopped, match="a pause of 22 h 50 min, until 20") as caught:
        client.api.audio_analysis(client.track)
    assert caught.value.come_back is not None
    for until in (*client.pauses, caught.value.come_back):
        assert 82_160 < (until - datetime.now(timezone.utc)).total_seconds() <= 82_173
    assert len(client.pauses) == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [("Wed, 21 Oct 2099 07:28:00 GMT", r" h \d+ min, until 2099-10-21 07:2\d UTC"), ("9" * 30, ", until 9999-12-31 ")],
)
def test_a_pause_of_years_ends_when_it_is_said_to(asked: str, told: str, spotify: Spotify) -> None:
    client = _Client(spotify)
    spotify.coming, spotify.retry_after = ["429"], asked
    with pytest.raises(CrawlStopped, match=told):
        client.api.audio_analysis(client.track)


def test_a_pause_that_comes_with_a_fault_is_kept_too(spotify: Spotify) -> None:
    spotify.coming, spotify.retry_after = ["503 with a pause"], "20"
    client = _Client(spotify)
    client.api.audio_analysis(client.track)
    assert client.waits == [("no answer", 20)]
    spotify.coming, spotify.retry_after = ["503 with a pause"], "61"
    with pytest.raises(CrawlStopped, match="a pause of 1 min"):
        client.api.audio_analysis(client.track)


def test_requests_are_kept_apart(spotify: Spotify, monkeypatch: pytest.MonkeyPatch) -> None:
    client = _Client(spotify, requests_per_second=2.5)
    slept: list[float] = []
    monkeypatch.setattr("components.spotify_crawl.session.time", _Clock(slept))
    for _ in range(3):
        client.api.audio_analysis(client.track)
    # The one for a token counts, too.
    assert slept == pytest.approx([0.4, 0.4, 0.4])


class _Clock:
    """A clock that only moves while somebody sleeps."""

    def __init__(self, slept: list[float]) -> None:
        self._slept = slept

    def monotonic(self) -> float:
        return sum(self._slept)

    def sleep(self, seconds: float) -> None:
        self._slept.append(seconds)


# What an answer says


ODD_BODIES = [
    b"",
    b"[]",
    b"null",
    b'{"error": "text"}',
    b'{"error": []}',
    b'{"error": {"message": 1}}',
    b"<html>",
    b"\xff",
]


@pytest.mark.parametrize("body", ODD_BODIES)
def test_the_status_decides_whatever_the_body_looks_like(body: bytes, spotify: Spotify) -> None:
    client = _Client(spotify)
    path = f"/v1/audio-analysis/{client.track}"
    for status in (403, 404):
        spotify.statuses = {path: (status, body)}
        with pytest.raises(Unavailable, match=f"Spotify answers {status}"):
            client.api.audio_analysis(client.track)
    assert (client.api.requests, client.waits) == (2, [])
    spotify.statuses = {path: (429, body)}
    with pytest.raises(CrawlStopped, match="20 times"):
        client.api.audio_analysis(client.track)
    spotify.statuses = {path: (401, body)}
    with pytest.raises(CrawlStopped, match="refuses the tokens"):
        client.api.audio_analysis(client.track)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"error": {"status": 403, "message": "Active premium subscription required"}}',
            "Active premium subscription required",
        ),
        (b"User not registered in the Developer Dashboard\n", "User not registered in the Developer Dashboard"),
        (b'{"error": "invalid", "error_description": "why"}', "invalid: why"),
    ],
)
def test_spotifys_own_words_are_kept(body: bytes, words: str, spotify: Spotify) -> None:
    client = _Client(spotify)
    spotify.statuses = {f"/v1/audio-analysis/{client.track}": (403, body)}
    with pytest.raises(Unavailable) as caught:
        client.api.audio_analysis(client.track)
    assert str(caught.value) == f"Spotify answers 403: {words}"


def test_words_that_repeat_a_secret_lose_it(spotify: Spotify) -> None:
    client = _Client(spotify)
    client.api.audio_analysis(client.track)
    secrets = (CLIENT_ID, CLIENT_SECRET, *spotify.all_tokens)
    spotify.statuses = {f"/v1/audio-analysis/{client.track}": (403, "\x1b".join(secrets).encode())}
    with pytest.raises(Unavailable, match=r"403: \.\.\.\.\.\.\.\.\.$"):
        client.api.audio_analysis(client.track)


def test_an_answer_that_comes_byte_by_byte_ends(spotify: Spotify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.spotify_crawl.session._LONGEST_ANSWER_SECONDS", 0.1)
    client = _Client(spotify)
    spotify.rates, spotify.slow_seconds = {"slow": 1.0}, 10
    with pytest.raises(Unreachable, match="ReadTimeout"):
        client.api.audio_analysis(client.track)


def test_a_spent_quota_stops_the_crawl_at_once(spotify: Spotify) -> None:
    spotify.quota = 0
    client = _Client(spotify)
    with pytest.raises(CrawlStopped, match="quota at Spotify is spent"):
        client.api.audio_analysis(client.track)
    assert client.api.requests == 1


# Tokens and credentials


def test_an_expired_token_is_renewed_once_and_without_a_pause(spotify: Spotify) -> None:
    client = _Client(spotify)
    client.api.audio_analysis(client.track)
    spotify.tokens.clear()
    client.api.audio_analysis(client.track)
    client.api.audio_analysis(client.track)
    assert len(spotify.all_tokens) == 2
    assert sum(wait for _, wait in client.waits) == 0


def test_a_token_that_expires_among_other_faults_is_no_refusal(spotify: Spotify) -> None:
    spotify.coming = ["504", "504", "504", "504", "expire", "504", "expire", "504"]
    client = _Client(spotify)
    with pytest.raises(Unreachable, match="answers 504, 6 times in a row"):
        client.api.audio_analysis(client.track)


def test_tokens_that_are_never_accepted_stop_the_crawl(spotify: Spotify) -> None:
    spotify.rates = {"expire": 1.0}
    with pytest.raises(CrawlStopped, match="refuses the tokens"):
        _Client(spotify).api.audio_analysis(next(iter(spotify.analyses)))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_credentials_that_are_not_accepted_are_named_but_not_shown(status: int, spotify: Spotify) -> None:
    spotify.statuses = {} if status == 400 else {TOKEN_PATH: status}
    client = _Client(spotify, WRONG)
    with pytest.raises(PipelineInputError, match=rf"SECRET \(it answers {status}[):]") as caught:
        client.api.audio_analysis(client.track)
    assert WRONG not in "".join(traceback.format_exception(caught.value))
    assert client.api.requests == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_that_cannot_be_had_is_a_fault(status: int, spotify: Spotify) -> None:
    spotify.statuses = {TOKEN_PATH: status}
    client = _Client(spotify)
    with pytest.raises(Unreachable, match=f"Spotify answers {status}"):
        client.api.audio_analysis(client.track)


def test_a_rate_limit_on_tokens_is_one(spotify: Spotify) -> None:
    spotify.statuses, spotify.retry_after = {TOKEN_PATH: 429}, "3"
    client = _Client(spotify)
    with pytest.raises(CrawlStopped):
        client.api.audio_analysis(client.track)
    assert [seconds for _, seconds in client.waits][:4] == [3, 3, 4, 8]


def test_no_log_of_any_level_shows_a_secret(spotify: Spotify, caplog: pytest.LogCaptureFixture) -> None:
    spotify.coming = ["500", "expire", "503 in text"]
    client = _Client(spotify)
    with caplog.at_level(logging.DEBUG):
        client.api.audio_analysis(client.track)
    assert "for the 1. time" in caplog.text
    for secret in (CLIENT_SECRET, CLIENT_ID, *spotify.all_tokens):
        assert secret not in caplog.text


def test_nobody_listening_is_a_fault(spotify: Spotify) -> None:
    client = _Client(spotify)
    client.api._spotify.prefix = "http://127.0.0.1:1/v1/"
    with pytest.raises(Unreachable, match=r"no answer \(ConnectionError\)"):
        client.api.audio_analysis(client.track)


def test_an_answer_larger_than_any_analysis_is_refused(spotify: Spotify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.spotify_crawl.session.MAX_ANALYSIS_BYTES", 1000)
    client = _Client(spotify)
    with pytest.raises(Unreachable, match="ContentDecodingError"):
        client.api.audio_analysis(client.track)


def test_a_stand_in_is_not_reached_through_a_proxy(spotify: Spotify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    client = _Client(spotify)
    client.api.audio_analysis(client.track)
    assert client.waits == []


# Where credentials come from, and where they go


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("SPOTIPY_CLIENT_ID", raising=False)
    monkeypatch.delenv("SPOTIPY_CLIENT_SECRET", raising=False)
    return monkeypatch


def test_credentials_come_from_the_environment_before_the_file(
    tmp_path: Path, no_credentials: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SPOTIPY_CLIENT_ID=file\nexport SPOTIPY_CLIENT_SECRET='se${HOME}cret'\n")
    assert read_credentials(tmp_path) == Credentials("file", "se${HOME}cret")
    no_credentials.setenv("SPOTIPY_CLIENT_ID", "environment")
    assert read_credentials(tmp_path) == Credentials("environment", "se${HOME}cret")


def test_credentials_do_not_show_when_printed() -> None:
    assert CLIENT_SECRET not in repr(Credentials(CLIENT_ID, CLIENT_SECRET))


@pytest.mark.parametrize("text", ["", "SPOTIPY_CLIENT_ID=a", "SPOTIPY_CLIENT_ID=a\nSPOTIPY_CLIENT_SECRET=\n"])
def test_missing_credentials_are_named(text: str, tmp_path: Path, no_credentials: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(text)
    with pytest.raises(PipelineInputError, match=r"SPOTIPY_CLIENT_(ID|SECRET) is set neither in"):
        read_credentials(tmp_path)


@pytest.mark.parametrize("secret", ["schlüssel", "two words", "a:b", "a\x07b"])
def test_impossible_credentials_are_not_shown(secret: str, tmp_path: Path, no_credentials: pytest.MonkeyPatch) -> None:
    no_credentials.setenv("SPOTIPY_CLIENT_ID", "a")
    no_credentials.setenv("SPOTIPY_CLIENT_SECRET", secret)
    with pytest.raises(PipelineInputError, match="SPOTIPY_CLIENT_SECRET holds characters") as caught:
        read_credentials(tmp_path)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_an_unreadable_file_is_named(content: bytes | None, tmp_path: Path, no_credentials: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content) if content else file.mkdir()
    with pytest.raises(PipelineInputError, match=r"\.env"):
        read_credentials(tmp_path)


def test_a_mock_answers_for_the_token_endpoint_too() -> None:
    assert endpoints(SPOTIFY) == Endpoints("https://api.spotify.com/v1/", "https://accounts.spotify.com/api/token")
    assert endpoints("http://127.0.0.1:80/v1") == Endpoints("http://127.0.0.1:80/v1/", "http://127.0.0.1:80/api/token")


@pytest.mark.parametrize("address", ["https://mock.example.org/v1/", "http://localhost:4010", "http://[::1]:4010"])
def test_an_address_that_nobody_listens_to_is_accepted(address: str) -> None:
    assert api_url(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org",
        "http://127.0.0.1@example.org/",
        "http://127.0.0.1.example.org",
        "http://user@localhost",
        "https://user:secret@example.org",
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "https://",
        "https://example.org?key=1",
        "http://[::1",
    ],
)
def test_an_address_that_somebody_may_listen_to_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"neither an https address nor|Invalid IPv6 URL"):
        api_url(address)


# Playlists as people write them

ID = "37i9dQZF1DXbITWG1ZJKYt"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        f" spotify:playlist:{ID} ",
        f"spotify:user:some.one:playlist:{ID}",
        f"https://open.spotify.com/playlist/{ID}/",
        f"https://OPEN.Spotify.com/intl-pt-BR/playlist/{ID}?si=abc&pt=1",
        f"open.spotify.com/intl-de/playlist/{ID}#top",
        f"https://open.spotify.com/embed/playlist/{ID}",
        f"http://play.spotify.com/user/someone/playlist/{ID}",
        f"https://api.spotify.com/v1/playlists/{ID}",
        f"https://api.spotify.com/v1/playlists/{ID}/items?limit=50",
    ],
)
def test_a_playlist_is_known_in_all_the_ways_that_people_write_it(text: str) -> None:
    assert playlist_id(text) == ID


@pytest.mark.parametrize("text", ["https://spotify.link/AbCd", "spotify.app.link/AbCd"])
def test_a_short_link_is_to_be_opened(text: str) -> None:
    with pytest.raises(ValueError, match="open it in a browser"):
        playlist_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"https://example.org/playlist/{ID}",
        f"https://open.spotify.com.example.org/playlist/{ID}",
        f"https://open.spotify.com/album/{ID}",
        f"https://open.spotify.com/{ID}",
        f"spotify:album:{ID}",
        "https://[open.spotify.com",
        f"{ID}x",
    ],
)
def test_what_is_no_playlist_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no playlist"):
        playlist_id(text)
