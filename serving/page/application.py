"""The page's server side: its files, what model answers, and a file's tracks with their genres."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepmusic_genre.tracks.track import (
    EAR_FEATURE,
    ECHO_NEST,
    N_COEFFICIENTS,
    N_EAR,
    InvalidTrack,
    Rejection,
    Track,
    require_comparable,
    require_heard,
)
from serving.page.reading import Reading, TookTooLong, endings, picture, read_file
from serving.server.bodies import MAX_BODY, Take, UnreadBody, forget_trace, read_body
from serving.server.errors import ServingError
from serving.server.manager import Handle
from serving.server.service import Service
from serving.server.signatures import Tensors
from serving.server.tracks import listens

MAX_FILES = 4
"""Files that may be on their way or read at one time."""

_NEEDED = {"genres", "probabilities"}
_CLOSE = {"connection": "close"}
"""Of an answer to a request whose body is not read."""

_LOG = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HOST_NAME = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d+)?")
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def page_application(service: Service, timeout_s: float) -> Starlette:
    """The page.

    ``/`` and the files that it names; ``/about``: the model that answers and what files may be; a POST of a file's
    bytes to ``/tracks?name=…``: its tracks with their genres' probabilities.

    Args:
        service: Model that answers.
        timeout_s: Seconds that a file may take, from its headers to the answer.
    """
    page = _Page(service, timeout_s)
    files = [
        Route("/" if file.name == "index.html" else f"/{file.name}", _serving(file))
        for file in _STATIC.iterdir()
        if file.suffix in _TYPES
    ]
    application = Starlette(
        routes=[*files, Route("/about", page.about), Route("/tracks", page.tracks, methods=["POST"])],
        middleware=[Middleware(_Guard)],
        exception_handlers={HTTPException: _refused, Exception: _failed},  # type: ignore[dict-item] # of its own only
    )
    application.router.redirect_slashes = False
    return application


def _serving(file: Path) -> Callable[[Request], Response]:
    content = file.read_bytes()
    return lambda _: Response(content, media_type=_TYPES[file.suffix])


class _Guard:
    """Refuses requests under another name, and keeps browsers from anything but the page itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += _HEADERS
            await send(message)

        means_this = _is_this_server(scope["server"][0], Headers(scope=scope).get("host", ""))
        app = self._app if means_this else _error(403, "This server answers as localhost only.")
        await app(scope, receive, guarded)


class _Page:
    def __init__(self, service: Service, timeout_s: float) -> None:
        self._service = service
        self._model = service.model.name
        self._timeout_s = timeout_s
        self._under_way = 0
        # One thread: only one file is taken apart at a time, which bounds the memory.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="page")

    async def about(self, _request: Request) -> Response:
        known = {"model": self._model, "version": self._version(), "endings": endings(), "max_bytes": MAX_BODY}
        return _json(known)

    async def tracks(self, request: Request) -> Response:
        _check_origin(request.headers)
        name = _file_name(request)
        if self._under_way >= MAX_FILES:
            raise HTTPException(429, f"{MAX_FILES} other files are being read: try again in a moment.", _CLOSE)
        self._under_way += 1
        try:
            return await asyncio.wait_for(self._within_time(name, request), self._timeout_s)
        except (asyncio.TimeoutError, TookTooLong):
            raise HTTPException(504, f"It took longer than {self._timeout_s:g} s.", _CLOSE) from None
        finally:
            self._under_way -= 1

    def _version(self) -> str | None:
        try:
            with self._service.model.use(self._model) as handle:
                return str(handle.version)
        except ServingError:
            return None

    def _listens(self) -> bool:
        try:
            with self._service.model.use(self._model) as handle:
                return listens(handle.signatures)
        except ServingError:
            return False

    async def _within_time(self, name: str, request: Request) -> Response:
        deadline = time.monotonic() + self._timeout_s
        with self._service.budget.share() as take:
            content = await _content(request, take)
            loop = asyncio.get_running_loop()
            heard = self._listens()
            reading = await loop.run_in_executor(self._reader, read_file, name, content, deadline, heard)
            version, outputs = await self._outputs(reading.tracks)
            answering = {"model": self._model, "version": version}
            return await loop.run_in_executor(self._reader, _told, reading, outputs, answering, heard)

    async def _outputs(self, tracks: list[Track]) -> tuple[str | None, list[Tensors]]:
        """The version that answered, as text since JavaScript rounds large numbers, and what it answered each track."""
        if not tracks:
            return None, []
        try:
            with self._service.model.use(self._model) as handle:
                return str(handle.version), await asyncio.gather(*(self._predict(handle, track) for track in tracks))
        except ServingError as error:
            if self._version() is None:
                raise HTTPException(503, f"No version of the model {self._model} is loaded{self._fault()}.") from error
            raise HTTPException(502, f"The model did not answer: {error.message}") from error

    async def _predict(self, handle: Handle, track: Track) -> Tensors:
        timbre, pitches = (part[np.newaxis] for part in np.split(track.segments, [N_COEFFICIENTS], axis=1))
        tensors = {"timbre": timbre, "pitches": pitches}
        if listens(handle.signatures):
            tensors[EAR_FEATURE] = (np.zeros(N_EAR, np.float32) if track.ear is None else track.ear)[np.newaxis]
        with self._service.counted(handle.model, "predict", "page"):
            outputs = await self._service.predict(handle, "", tensors)
        if not outputs.keys() >= _NEEDED:
            raise HTTPException(502, f"The model {handle.model} does not answer with genres.")
        return outputs

    def _fault(self) -> str:
        """Why no version is loaded, where one was tried."""
        try:
            statuses = self._service.model.status(self._model)
        except ServingError:
            return ""
        faults = [f": version {status.version}: {status.message}" for status in statuses if status.message]
        return faults[0].rstrip(".") if faults else ""


def _told(reading: Reading, outputs: list[Tensors], answering: Mapping[str, str | None], heard: bool) -> Response:
    """The tracks with their probabilities, and the rejections: those of other analysers than the model's, too."""
    tracks, rejections = [], list(reading.rejections)
    for track, answered in zip(reading.tracks, outputs, strict=True):
        known = _texts(answered["analyser"])[0].split(",") if "analyser" in answered else [ECHO_NEST]
        try:
            require_comparable(track, known)
            if heard:
                require_heard(track)
            if not np.isfinite(answered["probabilities"]).all():
                raise InvalidTrack("the model has no answer to it: its values are none that it can compute with")
        except InvalidTrack as error:
            rejections.append(Rejection(reading.name, str(error), track.track_id))
            continue
        told: dict[str, Any] = {name: answered[name][0] for name in ("sure", "familiarity") if name in answered}
        genres: Iterable[str] = _texts(answered["genres"][0])
        told["probabilities"] = dict(zip(genres, answered["probabilities"][0], strict=True))
        tracks.append({**picture(track), **told})
    answer = {**answering, "tracks": tracks, "rejections": rejections, "more": reading.more}
    return _json(answer)


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


async def _content(request: Request, take: Take) -> bytes:
    try:
        return await read_body(request, take)
    except UnreadBody as error:
        too_large = error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        reason = f"The file is larger than {MAX_BODY >> 20} MiB." if too_large else f"{error.message}."
        raise HTTPException(error.status, reason, _CLOSE) from None


def _file_name(request: Request) -> str:
    """The name in the query, without folders: it names the form and the track, nothing is opened by it."""
    name = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2]
    if not name:
        raise HTTPException(400, "The query has no name=… of the file.")
    return name


def _is_this_server(address: str, host: str) -> bool:
    """Whether a request means this machine, and not a name that was made to point to it (DNS rebinding)."""
    if not _is_loopback(address):
        return True
    name = _HOST_NAME.fullmatch(host)
    return name is not None and (name[1] == "localhost" or _is_loopback(name[1].strip("[]")))


def _check_origin(headers: Headers) -> None:
    """Refuses what pages of other origins send. What is no browser sends neither header."""
    origin = headers.get("origin")
    elsewhere = origin is not None and origin.partition("://")[2] != headers.get("host")
    if elsewhere or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "Only the page itself may send files.", _CLOSE)


def _json(value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, headers, "application/json")


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"error": reason}, status, headers)


async def _refused(_request: Request, error: HTTPException) -> Response:
    forget_trace(error)
    return _error(error.status_code, error.detail, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours: the trace goes to the log, not to the browser."""
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return _error(500, "Something went wrong in the server.", _CLOSE)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
