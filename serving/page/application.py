"""The page as an ASGI application: its files, what model answers, and a file's tracks with their genres."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import orjson

from deepmusic_genre.tracks.track import ECHO_NEST, N_COEFFICIENTS, InvalidTrack, Rejection, Track, require_comparable
from serving.page.reading import Reading, TookTooLong, endings, picture, read_file
from serving.server.asgi import MAX_BODY, Answer, Body, Receive, Scope, Send, has_body, send_answer
from serving.server.errors import ServingError
from serving.server.manager import Handle
from serving.server.service import Service
from serving.server.signatures import Tensors

MAX_FILES = 4
"""Files that may be on their way or read at one time."""

_NEEDED = {"genres", "probabilities"}
_LOG = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HOST_NAME = re.compile(rb"(\[[^\]]*\]|[^:]*)(?::\d+)?")
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


class _Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class PageApplication:
    """Answers requests for the page.

    ``/`` and the files that it names; ``/about``: the model that answers and what files may be; a POST of a file's
    bytes to ``/tracks?name=…``: its tracks with their genres' probabilities.

    Args:
        service: the models; the first one answers.
        timeout_s: how long a file may take, from its first byte to the answer.
    """

    def __init__(self, service: Service, timeout_s: float) -> None:
        self._service = service
        self._timeout_s = timeout_s
        kept = [file for file in _STATIC.iterdir() if file.suffix in _TYPES]
        self._files = {f"/{file.name}": (file.read_bytes(), _TYPES[file.suffix]) for file in kept}
        self._files["/"] = self._files.pop("/index.html")
        self._under_way = 0
        # One thread: only one file is taken apart at a time, which bounds the memory.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers = dict(scope["headers"])
        body = Body(receive, headers)
        try:
            _check_host(scope, headers)
            answer = await self._answer(scope, headers, body)
        except _Refused as refused:
            answer = Answer(refused.status, orjson.dumps({"error": refused.reason}), close=not body.ended)
        except Exception:  # A fault of ours: the trace goes to the log, not to the browser.
            _LOG.exception("%s %s", scope["method"], scope["path"])
            answer = Answer(500, orjson.dumps({"error": "Something went wrong in the server."}), close=True)
        await send_answer(send, answer, _HEADERS)

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], body: Body) -> Answer:
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        if path not in ("/about", "/tracks", *self._files):
            raise _Refused(404, "There is no such page.")
        methods = ("POST",) if path == "/tracks" else ("GET", "HEAD")
        if scope["method"] not in methods:
            raise _Refused(405, f"{path} answers {' and '.join(methods)} only.")
        if path == "/tracks":
            _check_origin(headers)
            return Answer(200, await self._tracks(_file_name(scope), body))
        if path == "/about":
            return Answer(200, orjson.dumps(self._about()), close=has_body(headers))
        return Answer(200, *self._files[path], close=has_body(headers))

    @property
    def _model(self) -> str:
        return self._service.models.models[0]

    def _about(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "version": self._version(),
            "endings": endings(),
            "max_bytes": MAX_BODY,
        }

    def _version(self) -> str | None:
        try:
            with self._service.models.use(self._model) as handle:
                return str(handle.version)
        except ServingError:
            return None

    async def _tracks(self, name: str, body: Body) -> bytes:
        if self._under_way >= MAX_FILES:
            raise _Refused(429, f"{MAX_FILES} other files are being read: try again in a moment.")
        self._under_way += 1
        try:
            return await asyncio.wait_for(self._within_time(name, body), self._timeout_s)
        except (asyncio.TimeoutError, TookTooLong):
            raise _Refused(504, f"It took longer than {self._timeout_s:g} s.") from None
        finally:
            self._under_way -= 1

    async def _within_time(self, name: str, body: Body) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        content = await _content(body)
        loop = asyncio.get_running_loop()
        reading = await loop.run_in_executor(self._reader, read_file, name, content, deadline)
        version, outputs = await self._outputs(reading.tracks)
        answering = {"model": self._model, "version": version}
        return await loop.run_in_executor(self._reader, _told, reading, outputs, answering)

    async def _outputs(self, tracks: list[Track]) -> tuple[str | None, list[Tensors]]:
        """The version that answered, as text since JavaScript rounds large numbers, and what it answered each track."""
        if not tracks:
            return None, []
        try:
            with self._service.models.use(self._model) as handle:
                return str(handle.version), await asyncio.gather(*(self._predict(handle, track) for track in tracks))
        except ServingError as error:
            if self._version() is None:
                raise _Refused(503, f"No version of the model {self._model} is loaded{self._fault()}.") from error
            raise _Refused(502, f"The model did not answer: {error.message}") from error

    async def _predict(self, handle: Handle, track: Track) -> Tensors:
        timbre, pitches = (part[np.newaxis] for part in np.split(track.segments, [N_COEFFICIENTS], axis=1))
        with self._service.counted(handle.model, "predict", "page"):
            _, outputs = await self._service.predict(handle, "", {"timbre": timbre, "pitches": pitches})
        if not outputs.keys() >= _NEEDED:
            raise _Refused(502, f"The model {handle.model} does not answer with genres.")
        return outputs

    def _fault(self) -> str:
        """Why no version is loaded, where one was tried."""
        try:
            statuses = self._service.models.status(self._model)
        except ServingError:
            return ""
        faults = [f": version {status.version}: {status.message}" for status in statuses if status.message]
        return faults[0].rstrip(".") if faults else ""


def _told(reading: Reading, outputs: list[Tensors], answering: Mapping[str, str | None]) -> bytes:
    """The tracks with their probabilities, and the rejections: those of other analysers than the model's, too."""
    tracks, rejections = [], list(reading.rejections)
    for track, answered in zip(reading.tracks, outputs, strict=True):
        known = _texts(answered["analyser"])[0].split(",") if "analyser" in answered else [ECHO_NEST]
        try:
            require_comparable(track, known)
        except InvalidTrack as error:
            rejections.append(Rejection(reading.name, str(error), track.track_id))
            continue
        by_genre = dict(zip(_texts(answered["genres"][0]), answered["probabilities"][0], strict=True))
        tracks.append({**picture(track), "probabilities": by_genre})
    answer = {**answering, "tracks": tracks, "rejections": rejections, "more": reading.more}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


async def _content(body: Body) -> bytes:
    try:
        return await body.read()
    except ServingError as error:
        if body.too_large:
            raise _Refused(413, f"The file is larger than {MAX_BODY >> 20} MiB.") from None
        raise _Refused(400, f"{error.message}.") from None


def _file_name(scope: Scope) -> str:
    """The name in the query, without folders: it names the form and the track, nothing is opened by it."""
    query = parse_qs(scope["query_string"].decode("latin-1"), errors="replace")
    name = query.get("name", [""])[0].replace("\\", "/").rpartition("/")[2]
    if not name:
        raise _Refused(400, "The query has no name=… of the file.")
    return name


def _check_host(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Refuses a page elsewhere whose name was made to point to this machine (DNS rebinding)."""
    if not _is_loopback(scope["server"][0]):
        return
    name = _HOST_NAME.fullmatch(headers.get(b"host", b""))
    if name is None or not (name[1] == b"localhost" or _is_loopback(name[1].strip(b"[]").decode("latin-1"))):
        raise _Refused(403, "This server answers as localhost only.")


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuses what pages of other origins send. What is no browser sends neither header."""
    origin = headers.get(b"origin")
    elsewhere = origin is not None and origin.partition(b"://")[2] != headers.get(b"host")
    if elsewhere or headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
        raise _Refused(403, "Only the page itself may send files.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
