"""Requests' bodies: read, inflated, and bounded, each by itself and all together."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from serving.server.errors import ServingError, http_status

MAX_BODY = 100 << 20
"""Bytes of a request's body, and of what it inflates to: TF Serving's limit for the latter."""

MAX_TOGETHER = 4 * MAX_BODY
"""Bytes of the bodies of all requests at one time, inflated."""

Take = Callable[[int], None]
"""Counts bytes for a request; raises ServingError if all requests together hold too many."""


class UnreadBody(ServingError):
    """A body that the server stops reading: the connection ends with the answer.

    Attributes:
        status: Status of the HTTP answer.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self.status = status or http_status(code)


class Budget:
    """The bytes that all requests together may hold. Every method may be called from any thread."""

    def __init__(self, most: int = MAX_TOGETHER) -> None:
        self._left = most
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator[Take]:
        """Lets a request take bytes, and takes them back when it ends."""
        taken = 0
        ended = False

        def take(size: int) -> None:
            nonlocal taken
            with self._lock:
                # A thread may still work for a request that was given up.
                if ended or size > self._left:
                    raise ServingError("RESOURCE_EXHAUSTED", "Too many large requests at the same time")
                self._left -= size
                taken += size

        try:
            yield take
        finally:
            with self._lock:
                ended = True
                self._left += taken


async def read_body(request: Request, take: Take) -> bytes:
    """All of a request's body.

    Raises:
        UnreadBody: it is too large, there are too many others, or the client went away.
    """
    if int(request.headers.get("content-length", 0)) > MAX_BODY:
        raise _too_large()
    parts = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise _too_large()
            take(len(part))
            parts.append(part)
    except ClientDisconnect:
        raise UnreadBody("CANCELLED", "The client went away") from None
    except UnreadBody:
        raise
    except ServingError as error:
        raise UnreadBody(error.code, error.message) from None
    return b"".join(parts)


def inflate(body: bytes, take: Take) -> bytes:
    """What a gzip body holds; nothing if it is broken or holds more than ``MAX_BODY``, as in TF Serving.

    Raises:
        ServingError: together with all other bodies it is too large.
    """
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = inflater.decompress(body, MAX_BODY + 1)
    except zlib.error:
        return b""
    if not inflater.eof or len(content) > MAX_BODY:
        return b""
    take(len(content))
    return content


def forget_trace(error: BaseException | None) -> None:
    """Lets go of the calls that raised an error, and of the request's body in their variables.

    asyncio.wait_for refers to an error that refers to it: both would stay in memory until garbage is collected.
    """
    while error is not None:
        before = error.__cause__ or error.__context__
        error.__traceback__ = error.__cause__ = error.__context__ = None
        error = before


def _too_large() -> UnreadBody:
    return UnreadBody(
        "INVALID_ARGUMENT", f"Request body of more than {MAX_BODY} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )
