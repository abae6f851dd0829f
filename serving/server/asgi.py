"""Requests and answers over ASGI: bodies that stay bounded, and an answer as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from serving.server.errors import ServingError, invalid

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 100 << 20
"""Bytes of a request's body, and of what it inflates to: TF Serving's limit for the latter."""

JSON = "application/json"
HTML = "text/html"
NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Answer:
    """What a request is answered with.

    Attributes:
        status: the HTTP status.
        body: all of it.
        content_type: of the body.
        close: whether the connection ends with it, as it must where a request's body was not read.
    """

    status: int
    body: bytes
    content_type: str = JSON
    close: bool = False


async def send_answer(send: Send, answer: Answer, headers: Headers = ()) -> None:
    """Sends an answer, with more headers."""
    every = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *headers,
        *([(b"connection", b"close")] if answer.close else []),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": every})
    await send({"type": "http.response.body", "body": answer.body})


class Body:
    """A request's body, as far as it has come."""

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes]) -> None:
        self._receive = receive
        self._declared = int(headers.get(b"content-length", b"0"))
        self.size = 0
        self.too_large = self._declared > MAX_BODY
        self.ended = not has_body(headers)

    async def read(self, grow: Callable[[int], None] = lambda _: None) -> bytes:
        """All of it; ``grow`` is told of every part and may raise.

        Raises:
            ServingError: it is too large, or the client went away.
        """
        parts = []
        while True:
            if self.too_large:
                raise invalid(f"Request body of more than {MAX_BODY} bytes")
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ServingError("CANCELLED", "The client went away")
            part = message.get("body", b"")
            grow(len(part))
            self.size += len(part)
            self.too_large = self.size > MAX_BODY
            parts.append(part)
            if not message.get("more_body"):
                self.ended = True
                return b"".join(parts)


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's headers announce a body."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
