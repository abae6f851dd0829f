"""HTTP for a crawl: few requests a second, answers of a bounded size and duration, from where they were asked for."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import requests
import urllib3

from deepmusic_genre.tracks.source import MAX_ANALYSIS_BYTES

_CHUNK_BYTES = 1 << 16
_LONGEST_ANSWER_SECONDS = 120.0
_LONGEST_WORDS = 300


class Refused(Exception):
    """An answer whose status says that it gives nothing. No body, however odd, makes another of it.

    Attributes:
        status: the HTTP status, 300 or more.
        retry_after: the header's content, None where there is none.
        words: what the body says about it, empty where it says nothing.
        reason: the code that newer answers give, for example ``QUOTA_EXCEEDED``.
        url: what was asked for.
    """

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.status_code)
        self.status = response.status_code
        self.retry_after: str | None = response.headers.get("Retry-After")
        self.words, self.reason = _words(response.content)
        self.url = response.url


class BoundedSession(requests.Session):
    """Keeps requests apart, follows no redirect, retries nothing, and reads no more than an audio analysis may have."""

    def __init__(self, requests_per_second: float) -> None:
        """Takes the most requests a second."""
        super().__init__()
        self._interval = 1 / requests_per_second
        self._next = 0.0

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """See the base class.

        Raises:
            Refused: the status is 300 or more.
            requests.RequestException: there is no answer, or one that is too large or too slow.
        """
        self._keep_apart()
        end = time.monotonic() + _LONGEST_ANSWER_SECONDS
        response = super().send(request, **{**options, "stream": True, "allow_redirects": False})
        # Where the base class keeps what it has read.
        response._content = b""
        refused = response.status_code >= HTTPStatus.MULTIPLE_CHOICES
        with suppress(*([requests.RequestException] if refused else [])):
            response._content = _content(response, end)
        if refused:
            response.close()
            raise Refused(response)
        return response

    def _keep_apart(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._interval


def _content(response: requests.Response, end: float) -> bytes:
    content = bytearray()
    try:
        # requests itself reads whole chunks: byte by byte one can take days.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            content += chunk
            if len(content) > MAX_ANALYSIS_BYTES:
                raise requests.exceptions.ContentDecodingError("the answer is too large")
            if time.monotonic() > end:
                raise requests.exceptions.ReadTimeout("the answer takes too long")
    except requests.RequestException:
        response.close()
        raise
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.exceptions.ChunkedEncodingError(str(error)) from error
    return bytes(content)


def _words(content: bytes) -> tuple[str, str]:
    """What an error's body says, and its code: of the Web API, of the token endpoint, or a line of text."""
    text = content.decode(errors="replace").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return ("" if text.startswith("<") else text[:_LONGEST_WORDS]), ""
    answer = answer if isinstance(answer, dict) else {}
    error = answer.get("error")
    if isinstance(error, dict):
        return _text(error.get("message")), _text(error.get("reason"))
    return ": ".join(filter(None, map(_text, (error, answer.get("error_description"))))), ""


def _text(value: object) -> str:
    return value[:_LONGEST_WORDS] if isinstance(value, str) else ""
