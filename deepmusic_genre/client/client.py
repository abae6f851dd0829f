"""A served model, asked for the genres of tracks."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from deepmusic_genre.client.defaults import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from deepmusic_genre.client.endpoint import (
    GRPC_SCHEMES,
    Address,
    EndpointError,
    NotServedError,
    PassingError,
    RefusedError,
    Transport,
    VersionStatus,
    busy,
    not_this_model,
    one_line,
    parse_address,
)
from deepmusic_genre.client.rest import RestTransport
from deepmusic_genre.quiet import silent_import
from deepmusic_genre.tracks.examples import encode_segments
from deepmusic_genre.tracks.track import (
    EAR_FEATURE,
    ECHO_NEST,
    InvalidTrack,
    Rejection,
    Track,
    require_comparable,
    require_heard,
)

MAX_TOGETHER = 16
"""Tracks of a request."""

MAX_REQUEST_BYTES = 8 << 20
"""Bytes of a request's examples, unless a single track has more: some 90 ordinary tracks."""

_LOG = logging.getLogger(__name__)
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 1.0
_QUIET_S = 2.0
_ABOUT_TO_LOAD = {"UNKNOWN", "START", "LOADING"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one track.

    Attributes:
        genre: the most probable one.
        probabilities: by genre, in the order of the model's list; they sum to 1.
        version: the model's version that answered.
        sure: whether such answers are right as often as the model's settings asked for; None if the model does not say.
        familiarity: The share of the model's training tracks that are less like the others than this track is, 0..1;
            None if the model does not say.
    """

    genre: str
    probabilities: dict[str, float]
    version: int
    sure: bool | None = None
    familiarity: float | None = None


class _Outputs(msgspec.Struct):
    genre: list[str]
    genres: list[list[str]]
    probabilities: list[list[float]]
    sure: list[bool] | None = None
    familiarity: list[float] | None = None
    # Models that do not tell are older than any other analyser.
    analyser: list[str] = msgspec.field(default_factory=lambda: [ECHO_NEST])

    @property
    def analysers(self) -> list[str]:
        """Whose tracks the model was trained on."""
        return self.analyser[0].split(",") if self.analyser else [ECHO_NEST]


Answer = tuple[Track, Prediction | Rejection]
"""A track with the model's answer, or with the reason why its answer would mean nothing."""


@dataclass
class _Pin:
    """The version that answers a call.

    Attributes:
        version: None until the server was asked what it serves.
        answered: Whether it has answered: from then on no other one may.
        listens: Whether it says that it answers sound alone; None until it was asked.
    """

    version: int | None
    answered: bool = False
    listens: bool | None = None


class Client:
    """A model behind a TF Serving endpoint, over REST or gRPC. It closes its connection at the end of a ``with``.

    Example:
        >>> with Client("grpc://127.0.0.1:8500") as client:
        ...     for track, answer in client.predict(tracks):
        ...         print(track.title, answer.genre if isinstance(answer, Prediction) else answer.reason)
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        model: str = DEFAULT_MODEL,
        version: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Makes a client; nothing is sent yet. For gRPC, TensorFlow is imported, which takes seconds.

        Args:
            url: ``http://host:8501`` or ``https://…`` for REST, ``grpc://host:8500`` or ``grpcs://…`` for gRPC.
            model: the model's name there.
            version: a version of it, None for the newest.
            timeout_s: seconds within which a request is answered. So long, a request is repeated that may be better at
                the next attempt (no connection, a busy server, a model that is being loaded); a warning is logged.

        Raises:
            EndpointError: the URL is none of an endpoint, or packages for gRPC are missing.
        """
        self._address = parse_address(url, model, version)
        self._timeout_s = timeout_s
        self._transport = _transport(self._address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def listens(self) -> bool:
        """Whether the model answers sound alone; ``read_tracks(paths, pretrained=client.listens)`` reads files for it.

        Raises:
            EndpointError: the server does not say it.
        """
        return self._listens(_Pin(self._address.version))

    def _listens(self, pin: _Pin) -> bool:
        inputs, _ = self._repeated(self._transport.inputs, pin)
        return EAR_FEATURE in inputs

    def _says_that_it_listens(self, pin: _Pin) -> bool:
        if pin.listens is None:
            try:
                pin.listens = self._listens(pin)
            except EndpointError:
                pin.listens = False  # It is for a reason's words alone.
        return pin.listens

    def predict(self, tracks: Iterable[Track]) -> Iterator[Answer]:
        """Asks for any number of tracks, some together, as the answers are fetched.

        Only segments are sent: no title, artist or id. One version gives all the answers: the one that was named, or
        else the newest when the first is asked for.

        Args:
            tracks: may be an iterator; no more than a request's are held.

        Yields:
            Each track with its answer, in order; with a rejection if another analyser made its segments than those that
            the model was trained on, or if the model has no answer to it.

        Raises:
            EndpointError: there is no answer, or none by the version that gave the others.
        """
        pin = _Pin(self._address.version)
        for together in _requests(tracks):
            yield from self._answers(together, pin)

    def _answers(self, together: Sequence[tuple[Track, bytes]], pin: _Pin) -> Iterator[Answer]:
        try:
            analysers, predictions = self._ask([example for _, example in together], pin)
        except RefusedError as error:
            if len(together) > 1:  # The others have an answer each.
                for one in together:
                    yield from self._answers([one], pin)
            else:
                ((track, _),) = together
                yield track, Rejection(track.path, error.reason, track.track_id)
            return
        for (track, _), prediction in zip(together, predictions, strict=True):
            yield track, self._meaningful(track, prediction, analysers, pin)

    def _meaningful(
        self, track: Track, prediction: Prediction, analysers: Sequence[str], pin: _Pin
    ) -> Prediction | Rejection:
        try:
            require_comparable(track, analysers)
            if not all(map(math.isfinite, prediction.probabilities.values())):
                if track.ear is None and self._says_that_it_listens(pin):
                    require_heard(track)
                raise InvalidTrack("the model has no answer to it: its values are none that it can compute with")
        except InvalidTrack as error:
            return Rejection(track.path, str(error), track.track_id)
        return prediction

    def _ask(self, examples: Sequence[bytes], pin: _Pin) -> tuple[list[str], list[Prediction]]:
        outputs, version = self._repeated(partial(self._transport.predict, examples), pin)
        return self._predictions(outputs, len(examples), version)

    def _repeated(self, call: Callable[[int, float], _T], pin: _Pin) -> tuple[_T, int]:
        """What a call with a version and seconds answers, and that version; tried again while that may help."""
        attempts = Retrying(
            retry=retry_if_exception_type(PassingError),
            stop=stop_before_delay(self._timeout_s),
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            before_sleep=_tell_once(self._timeout_s),
            reraise=True,
        )
        return attempts(self._attempt, call, pin, time.monotonic() + self._timeout_s)

    def _attempt(self, call: Callable[[int, float], _T], pin: _Pin, deadline: float) -> tuple[_T, int]:
        try:
            version = self._newest(deadline) if pin.version is None else pin.version
            try:
                answer = call(version, _left(deadline))
            except NotServedError as error:
                raise self._not_served(self._transport.versions(_left(deadline)), pin, error) from error
        except TimeoutError as error:
            raise EndpointError(f"{self._address.shown} did not answer within {self._timeout_s:g} s.") from error
        pin.version, pin.answered = version, True
        return answer, version

    def _newest(self, deadline: float) -> int:
        """What the server answers with by itself; asked for by its number, since another may follow it."""
        versions = self._transport.versions(_left(deadline))
        available = [one.version for one in versions if one.state == "AVAILABLE"]
        if not available:
            raise self._not_served(versions, _Pin(None), NotServedError())
        return max(available)

    def _not_served(self, versions: Sequence[VersionStatus], pin: _Pin, told: NotServedError) -> EndpointError:
        url, model, wanted = self._address.shown, self._address.model, pin.version
        if not versions:
            return EndpointError(
                f"{url} serves no model named {model}: is that its name there, and was a version of it pushed?"
            )
        asked = [one for one in versions if wanted in (None, one.version)]
        if any(one.state in _ABOUT_TO_LOAD and not one.fault for one in asked):
            return busy(self._address, f"it is loading {model}.")
        available = [one for one in versions if one.state == "AVAILABLE"]
        if wanted is not None and available:
            faults = "".join(f" ({_state(one)})" for one in asked)
            others = ", ".join(str(one.version) for one in available)
            if pin.answered:
                return EndpointError(
                    f"{url} no longer serves version {wanted} of {model}, which gave the answers so far{faults}; "
                    f"it serves {others}."
                )
            return EndpointError(f"{url} serves no version {wanted} of {model}{faults}; it serves {others}.")
        if available:
            return busy(self._address, told)
        return EndpointError(f"{url} has no version of {model} loaded: {'; '.join(map(_state, versions))}.")

    def _predictions(self, outputs: Any, tracks: int, version: int) -> tuple[list[str], list[Prediction]]:
        try:
            found = msgspec.convert(outputs, _Outputs)
            unknown = [None] * len(found.genre)
            told = (found.sure or unknown, found.familiarity or unknown)
            rows = zip(found.genre, found.genres, found.probabilities, *told, strict=True)
            predictions = [
                Prediction(genre, dict(zip(names, values, strict=True)), version, sure, familiarity)
                for genre, names, values, sure, familiarity in rows
            ]
        except ValueError as error:
            raise not_this_model(self._address, f"it does not answer with genres ({error})") from error
        if len(predictions) != tracks:
            raise not_this_model(self._address, f"it answered {len(predictions)} of {tracks} tracks")
        return found.analysers, predictions


def predict(
    tracks: Iterable[Track],
    url: str = DEFAULT_URL,
    model: str = DEFAULT_MODEL,
    version: int | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> list[Prediction | Rejection]:
    """Asks for tracks, and waits for all the answers; arguments and errors as of :class:`Client`.

    Example:
        >>> tracks = [item for _, item in read_tracks(["track.json.gz"]) if isinstance(item, Track)]
        >>> [answer.genre for answer in predict(tracks) if isinstance(answer, Prediction)]
        ['Rock']
    """
    with Client(url, model, version, timeout_s) as client:
        return [prediction for _, prediction in client.predict(tracks)]


def _tell_once(timeout_s: float) -> Callable[[RetryCallState], None]:
    """What logs why a request waits, once it has waited for a while."""
    told = False

    def tell(state: RetryCallState) -> None:
        nonlocal told
        if not told and state.outcome and (state.seconds_since_start or 0) >= _QUIET_S:
            told = True
            _LOG.warning("Waiting for up to %g s: %s", timeout_s, state.outcome.exception())

    return tell


def _transport(address: Address) -> Transport:
    if address.parts.scheme not in GRPC_SCHEMES:
        return RestTransport(address)
    try:
        with silent_import():
            from deepmusic_genre.client.rpc import GrpcTransport
    except ImportError as error:
        raise EndpointError(
            f"gRPC needs the packages grpcio and tensorflow-serving-api ({error}): install them, or ask by http://."
        ) from error
    return GrpcTransport(address)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _requests(tracks: Iterable[Track]) -> Iterator[list[tuple[Track, bytes]]]:
    together: list[tuple[Track, bytes]] = []
    size = 0
    for track in tracks:
        example = encode_segments(track.segments, track.ear)
        if together and (len(together) == MAX_TOGETHER or size + len(example) > MAX_REQUEST_BYTES):
            yield together
            together, size = [], 0
        together.append((track, example))
        size += len(example)
    if together:
        yield together


def _state(status: VersionStatus) -> str:
    return f"version {status.version} is in state {status.state}" + (
        f": {one_line(status.fault)}" if status.fault else ""
    )
