"""Which versions of a model are loaded, and who uses them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import tensorflow as tf

from components.pusher.folder import versions
from serving.server.errors import ServingError, from_tensorflow, invalid
from serving.server.metrics import RUNTIME_LATENCY, Metrics
from serving.server.servable import Servable, warm_up
from serving.server.signatures import Signature, Tensors
from serving.server.tracks import check_tracks

_LOG = logging.getLogger(__name__)
_POLL_WHILE_UNLOADING_S = 0.02


class State(Enum):
    """A version's life; the numbers are those of TF Serving's ModelVersionStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class LoadSettings:
    """How versions are loaded.

    Attributes:
        poll_wait_s: Seconds between two looks at the base path.
        max_retries: Number of further attempts after a failed one.
        retry_interval_s: Seconds between two attempts.
    """

    poll_wait_s: float = 1
    max_retries: int = 5
    retry_interval_s: float = 60


@dataclass(frozen=True)
class VersionStatus:
    """What a client is told about a version; ``code`` is ``OK`` or an error's."""

    version: int
    state: State
    code: str = "OK"
    message: str = ""


class Handle:
    """A loaded version that stays loaded as long as a request holds it."""

    def __init__(
        self, model: str, version: int, servable: Servable, submit: Callable[[Signature, Tensors], Future[Tensors]]
    ) -> None:
        self.model = model
        self.version = version
        self.signatures = servable.signatures
        self.signature_protos = servable.signature_protos
        self.submit = submit


@dataclass
class _Version:
    number: int
    folder: str
    state: State = State.START
    error: ServingError | None = None
    aspired: bool = True
    failures: int = 0
    retry_at: float = 0
    servable: Servable | None = None
    users: int = 0

    def to_load(self) -> bool:
        return self.aspired and self.state in (State.START, State.LOADING) and time.monotonic() >= self.retry_at


class ModelManager:
    """Keeps a model's latest version loaded, in a thread of its own.

    A new version is loaded before an old one is unloaded, and an old one is unloaded when its last request is answered.
    A version that does not load leaves what is there in place and is tried again.

    Attributes:
        name: Name of the model for clients.
    """

    def __init__(self, name: str, base_path: str, settings: LoadSettings, metrics: Metrics) -> None:
        self.name = name
        self._base_path = Path(base_path)
        self._settings = settings
        self._metrics = metrics
        self._versions: dict[int, _Version] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._looked = threading.Event()
        self._executor = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="run")
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)

    def start(self) -> None:
        """Starts to look for versions."""
        self._thread.start()

    def wait_until_looked(self) -> None:
        """Waits until the version that was there at first is loaded or has failed."""
        self._looked.wait()

    def stop(self) -> None:
        """Stops looking, and closes every version. Requests must have ended or be given up."""
        self._stop.set()
        self._thread.join()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for version in self._versions.values():
            if version.servable:
                version.servable.close()
                version.servable = None

    @contextmanager
    def use(self, model: str, number: int | None = None) -> Iterator[Handle]:
        """Holds a version for a request: the one given, or the latest that is available.

        Raises:
            ServingError: ``NOT_FOUND`` if it is not available, ``INVALID_ARGUMENT`` for no name.
        """
        if not model:
            raise invalid("ModelSpec has no name specified.")
        with self._lock:
            available = [one for one in self._named(model, number) if one.state is State.AVAILABLE]
            if not available:
                which = f"Latest({model})" if number is None else f"Specific({model}, {number})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {which}")
            found = available[0]
            found.users += 1
        try:
            if found.servable is None:
                raise AssertionError("an available version is loaded")
            yield Handle(model, found.number, found.servable, self._submitting(found, found.servable))
        finally:
            self._release(found)

    def status(self, model: str, number: int | None = None) -> list[VersionStatus]:
        """What became of a model's versions, the latest first.

        Raises:
            ServingError: ``NOT_FOUND`` if nothing is known of it.
        """
        with self._lock:
            found = [_status(one) for one in self._named(model, number)]
        if not found:
            which = "any versions" if number is None else f"version {number}"
            raise ServingError("NOT_FOUND", f"Could not find {which} of model {model}")
        return found

    def _named(self, model: str, number: int | None) -> list[_Version]:
        if model != self.name:
            return []
        latest_first = sorted(self._versions.values(), key=lambda one: -one.number)
        return [one for one in latest_first if number in (None, one.number)]

    def _submitting(self, version: _Version, servable: Servable) -> Callable[[Signature, Tensors], Future[Tensors]]:
        def submit(signature: Signature, tensors: Tensors) -> Future[Tensors]:
            """Runs a signature on tensors that were checked; the future has the outputs, or a ServingError."""
            with self._lock:
                version.users += 1  # A request that was given up may still be running.
            future = self._executor.submit(self._run, servable, signature, tensors)
            future.add_done_callback(lambda _: self._release(version))
            return future

        return submit

    def _run(self, servable: Servable, signature: Signature, tensors: Tensors) -> Tensors:
        check_tracks(signature, tensors)
        start = time.perf_counter()
        outputs = servable.run(signature, tensors)
        elapsed_us = (time.perf_counter() - start) * 1e6
        self._metrics.observe(RUNTIME_LATENCY, elapsed_us, model_name=self.name, API="Predict", runtime="TF1")
        return outputs

    def _release(self, version: _Version) -> None:
        with self._lock:
            version.users -= 1

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
                self._load()
                self._unload()
            except Exception:  # The versions that are there go on being served.
                _LOG.exception("could not bring the model up to date")
            self._looked.set()
            busy = any(one.state is State.UNLOADING for one in self._versions.values())
            self._stop.wait(_POLL_WHILE_UNLOADING_S if busy else self._settings.poll_wait_s)
        self._looked.set()

    def _look(self) -> None:
        try:
            children = versions(child.name for child in self._base_path.iterdir())
        except OSError as error:
            # A folder out of sight for a moment, as while it is replaced, unloads nothing.
            _LOG.warning("could not look for versions of %s in %s: %s", self.name, self._base_path, error.strerror)
            return
        if not children:
            _LOG.warning("no versions of %s found under base path %s", self.name, self._base_path)
        with self._lock:
            self._aspire(max(children, default=None), children)

    def _aspire(self, latest: int | None, children: Mapping[int, str]) -> None:
        for number, version in self._versions.items():
            ended = version.state is State.END and not version.aspired
            version.aspired = number == latest and not ended
            if not version.aspired and version.state in (State.START, State.LOADING):
                version.state = State.END
        if latest is not None and not (latest in self._versions and self._versions[latest].aspired):
            self._versions[latest] = _Version(latest, str(self._base_path / children[latest]))

    def _load(self) -> None:
        for version in list(self._versions.values()):
            if version.to_load() and not self._stop.is_set():
                self._try_to_load(version)

    def _try_to_load(self, version: _Version) -> None:
        version.state = State.LOADING
        servable = None
        try:
            servable = Servable(version.folder)
            warm_up(servable, version.folder, self._metrics)
        except Exception as error:  # A folder may hold anything; what is wrong with it becomes the version's status.
            if servable:
                servable.close()
            self._failed(version, _load_error(error))
            return
        with self._lock:
            version.servable, version.error = servable, None
            version.state = State.AVAILABLE
        _LOG.info("loaded version %d of %s", version.number, self.name)

    def _failed(self, version: _Version, error: ServingError) -> None:
        with self._lock:
            version.error = error
            version.failures += 1
            version.retry_at = time.monotonic() + self._settings.retry_interval_s
            if version.failures > self._settings.max_retries:
                version.state = State.END
        left = self._settings.max_retries + 1 - version.failures
        _LOG.warning("could not load version %d of %s (%d retries left): %s", version.number, self.name, left, error)

    def _unload(self) -> None:
        with self._lock:
            for version in _unneeded(list(self._versions.values())):
                version.state = State.UNLOADING
            idle = [one for one in self._versions.values() if one.state is State.UNLOADING and not one.users]
        for version in idle:
            servable, version.servable = version.servable, None
            if servable:
                servable.close()
            # One that was wanted back meanwhile is loaded anew.
            version.state = State.START if version.aspired else State.END
            _LOG.info("unloaded version %d of %s", version.number, self.name)


def _unneeded(known: list[_Version]) -> list[_Version]:
    """The loaded versions that may go: those not wanted, once a wanted one is there or none is wanted."""
    wanted = [one for one in known if one.aspired]
    if wanted and not any(one.state is State.AVAILABLE for one in wanted):
        return []
    return [one for one in known if one.state is State.AVAILABLE and not one.aspired]


def _status(version: _Version) -> VersionStatus:
    error = version.error
    if error is None:
        return VersionStatus(version.number, version.state)
    return VersionStatus(version.number, version.state, error.code, error.message)


def _load_error(error: Exception) -> ServingError:
    if isinstance(error, ServingError):
        return ServingError(error.code, error.message)  # Without its trace, which holds the version half loaded.
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    code = "NOT_FOUND" if isinstance(error, OSError) else "UNKNOWN"
    return ServingError(code, f"{type(error).__name__}: {error}")
