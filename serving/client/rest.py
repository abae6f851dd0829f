"""TF Serving's REST interface, for this project's models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from sources.track import N_COEFFICIENTS, Track

_PASSING = {429, 502, 503, 504}
"""Answers of a server that is busy or about to start: a prediction changes nothing, so it may be asked for again."""

_ATTEMPTS = 4
_LONGEST_WAIT_S = 4.0


class EndpointError(Exception):
    """Why there is no answer, in a line that says what to do."""


class _Passing(EndpointError):
    """What may be better at the next attempt."""


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one track.

    Attributes:
        genre: the most probable one.
        probabilities: by genre, in the order of the model's list; they sum to 1.
    """

    genre: str
    probabilities: dict[str, float]


class RestClient:
    """A model behind an endpoint."""

    def __init__(self, url: str, model: str = "deepmusic", version: int | None = None, timeout_s: float = 30) -> None:
        """Makes a client; nothing is sent yet.

        Args:
            url: of the server, for example ``http://127.0.0.1:8501``.
            model: its name there.
            version: a version of it, None for the newest.
            timeout_s: of one request.
        """
        self._url = url.rstrip("/")
        self._model = model
        versions = "" if version is None else f"/versions/{version}"
        self._path = f"{self._url}/v1/models/{model}{versions}:predict"
        self._timeout_s = timeout_s
        self._http = httpx.Client(timeout=timeout_s)

    def predict(self, tracks: Sequence[Track]) -> list[Prediction]:
        """Asks for several tracks at once, padded to the longest; a request that may be repeated is.

        Raises:
            EndpointError: there is no answer.
        """
        if not tracks:
            return []
        body = orjson.dumps({"inputs": _padded(tracks)}, option=orjson.OPT_SERIALIZE_NUMPY)
        attempts = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.25, max=_LONGEST_WAIT_S),
            reraise=True,
        )
        return _predictions(attempts(self._ask, body), len(tracks))

    def _ask(self, body: bytes) -> Any:
        try:
            response = self._http.post(self._path, content=body)
        except httpx.InvalidURL as error:
            raise EndpointError(f"{self._url} is no address: {error}.") from error
        except httpx.UnsupportedProtocol as error:
            raise EndpointError(
                f"{self._url} is no address of a REST endpoint: it begins with http:// or https://."
            ) from error
        except httpx.TimeoutException as error:
            raise EndpointError(f"{self._url} did not answer within {self._timeout_s:g} s.") from error
        except httpx.TransportError as error:
            raise _Passing(f"No server answers at {self._url}: make serve starts one ({error}).") from error
        if response.is_success:
            return _decoded(response.content, self._url)
        raise self._fault(response)

    def _fault(self, response: httpx.Response) -> EndpointError:
        try:
            told = str(orjson.loads(response.content)["error"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            told = response.reason_phrase
        if response.status_code in _PASSING:
            return _Passing(f"{self._url} cannot answer now ({response.status_code}): {told}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return EndpointError(
                f"{self._url} serves no such model or version as {self._path.rpartition('/v1/')[2]}: {told}"
            )
        return EndpointError(f"{self._url} refused the request ({response.status_code}): {told}")


def _padded(tracks: Sequence[Track]) -> dict[str, np.ndarray[Any, Any]]:
    longest = max(len(track.segments) for track in tracks)
    segments = np.zeros((len(tracks), longest, 2 * N_COEFFICIENTS), np.float32)
    for row, track in zip(segments, tracks, strict=True):
        row[: len(track.segments)] = track.segments
    timbre, pitches = np.split(segments, 2, axis=2)
    return {"timbre": np.ascontiguousarray(timbre), "pitches": np.ascontiguousarray(pitches)}


def _decoded(content: bytes, url: str) -> Any:
    try:
        return orjson.loads(content)["outputs"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise EndpointError(f"What answers at {url} is no TF Serving.") from error


def _predictions(outputs: Any, tracks: int) -> list[Prediction]:
    try:
        rows = zip(outputs["genre"], outputs["genres"], outputs["probabilities"], strict=True)
        found = [Prediction(genre, dict(zip(names, values, strict=True))) for genre, names, values in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointError("The model there is none of this project's: it does not answer with genres.") from error
    if len(found) != tracks:
        raise EndpointError(f"The model answered {len(found)} of {tracks} tracks.")
    return found
