"""Which versions of which models are loaded, and who uses them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import tensorflow as tf

from serving.server.batching import Batcher, BatchSettings
from serving.server.errors import ServingError, from_tensorflow, invalid
from serving.server.metrics import QUEUING_LATENCY, RUNTIME_LATENCY, Metrics
from serving.server.request_log import LogConfig
from serving.server.servable import Servable, SessionThreads, warm_up
from serving.server.signatures import Signature, Tensors
from serving.server.versions import VersionPolicy, aspired_versions

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
class ModelConfig:
    """A model to serve.

    Attributes:
        name: what clients call it.
        base_path: the folder of its versions.
        policy: which of them.
        labels: names for versions.
        log: where its requests are logged, None for nowhere.
    """

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)
    log: LogConfig | None = None


@dataclass(frozen=True)
class ManagerSettings:
    """How models are loaded.

    Attributes:
        poll_wait_s: seconds between two looks at the base paths; 0 looks once only.
        max_load_retries: how often a version that failed is tried again.
        load_retry_interval_s: seconds between two tries.
        threads: of a session.
        batching: how requests run together; its threads serve all models.
        labels_for_unavailable: whether a new label may name a version that is not available.
    """

    poll_wait_s: float = 1
    max_load_retries: int = 5
    load_retry_interval_s: float = 60
    threads: SessionThreads = field(default_factory=SessionThreads)
    batching: BatchSettings = field(default_factory=BatchSettings)
    labels_for_unavailable: bool = False


@dataclass(frozen=True)
class VersionStatus:
    """What a client is told about a version; ``code`` is ``OK`` or an error's."""

    version: int
    state: State
    code: str = "OK"
    message: str = ""


class Handle:
    """A loaded version that stays loaded as long as a request holds it."""

    def __init__(self, model: str, version: int, servable: Servable, batchers: Mapping[str, Batcher]) -> None:
        self.model = model
        self.version = version
        self.signatures = servable.signatures
        self.signature_protos = servable.signature_protos
        self._batchers = batchers

    def submit(self, signature: Signature, tensors: Tensors) -> Future[Tensors]:
        """Runs a signature on tensors that were checked; see :class:`~serving.server.batching.Batcher`."""
        return self._batchers[signature.name].submit(tensors)


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
    batchers: dict[str, Batcher] = field(default_factory=dict)
    users: int = 0

    def to_load(self, now: float) -> bool:
        return self.aspired and self.state in (State.START, State.LOADING) and now >= self.retry_at

    def in_use(self) -> bool:
        # A request that was given up may still be running.
        return self.users > 0 or any(batcher.busy for batcher in self.batchers.values())


class ModelManager:
    """Keeps the wanted versions loaded, in a thread of its own.

    A new version is loaded before an old one is unloaded, and an old one is unloaded when its last request is answered.
    A version that does not load leaves what is there in place and is tried again.
    """

    def __init__(self, configs: Sequence[ModelConfig], settings: ManagerSettings, metrics: Metrics) -> None:
        self._configs = {config.name: config for config in configs}
        self._settings = settings
        self._metrics = metrics
        self._versions: dict[str, dict[int, _Version]] = {name: {} for name in self._configs}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._done = threading.Condition(self._lock)
        self._wanted = 1
        self._reached = 0
        self._executor = ThreadPoolExecutor(settings.batching.threads, thread_name_prefix="run")
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)

    def start(self) -> None:
        """Starts to look for versions."""
        self._thread.start()

    def wait_until_looked(self) -> None:
        """Waits until the versions that were there at first are loaded or have failed."""
        self._wait_for(1)

    def stop(self) -> None:
        """Stops looking, and closes every model. Requests must have ended or be given up."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        with self._done:
            self._done.notify_all()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for versions in self._versions.values():
            for version in versions.values():
                if version.servable:
                    version.servable.close()
                    version.servable = None

    def reconfigure(self, configs: Sequence[ModelConfig]) -> None:
        """Serves these models from now on; returns when their versions are loaded or have failed.

        Raises:
            ServingError: ``FAILED_PRECONDITION`` for a label that must not be given; all stays as it is.
        """
        with self._lock:
            for config in configs:
                self._check_labels(config)
            self._configs = {config.name: config for config in configs}
            for name in self._configs:
                self._versions.setdefault(name, {})
            self._wanted += 1
            wanted = self._wanted
        self._wake.set()
        self._wait_for(wanted)

    def _check_labels(self, config: ModelConfig) -> None:
        old = self._configs[config.name].labels if config.name in self._configs else {}
        versions = self._versions.get(config.name, {})
        for label, number in config.labels.items():
            available = number in versions and versions[number].state is State.AVAILABLE
            moved = old.get(label, number) != number
            if not available and (moved or not self._settings.labels_for_unavailable):
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"Request to assign label to version {number} of model {config.name}, which is not currently "
                    "available for inference",
                )

    def _wait_for(self, wanted: int) -> None:
        with self._done:
            self._done.wait_for(lambda: self._reached >= wanted or self._stop.is_set())

    @property
    def models(self) -> Sequence[str]:
        """The names of the models configured."""
        return list(self._configs)

    @contextmanager
    def use(self, model: str, version: int | None = None, label: str | None = None) -> Iterator[Handle]:
        """Holds a version for a request: the one given, or the latest that is available.

        Raises:
            ServingError: ``NOT_FOUND`` if it is not available, ``INVALID_ARGUMENT`` for an unknown label or no name.
        """
        if not model:
            raise invalid("ModelSpec has no name specified.")
        wanted = version if label is None else self.labelled_version(model, label)
        with self._lock:
            available = [
                one
                for one in self._versions.get(model, {}).values()
                if one.state is State.AVAILABLE and wanted in (None, one.number)
            ]
            if not available:
                which = f"Latest({model})" if wanted is None else f"Specific({model}, {wanted})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {which}")
            found = max(available, key=lambda one: one.number)
            found.users += 1
        try:
            if found.servable is None:
                raise AssertionError("an available version is loaded")
            yield Handle(model, found.number, found.servable, found.batchers)
        finally:
            with self._lock:
                found.users -= 1

    def labelled_version(self, model: str, label: str) -> int:
        """The version that a label stands for; raises ``INVALID_ARGUMENT`` for an unknown one."""
        config = self._configs.get(model)
        if config is None or label not in config.labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return config.labels[label]

    def status(self, model: str, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """What became of a model's versions, the latest first.

        Raises:
            ServingError: ``NOT_FOUND`` if nothing is known of it.
        """
        wanted = version if label is None else self.labelled_version(model, label)
        with self._lock:
            versions = [one for one in self._versions.get(model, {}).values() if wanted in (None, one.number)]
            found = [_status(one) for one in sorted(versions, key=lambda one: -one.number)]
        if not found:
            which = "any versions" if wanted is None else f"version {wanted}"
            raise ServingError("NOT_FOUND", f"Could not find {which} of model {model}")
        return found

    def _watch(self) -> None:
        look_at = 0.0
        while not self._stop.is_set():
            now, wanted = time.monotonic(), self._wanted
            try:
                if now >= look_at or wanted > self._reached:
                    look_at = now + self._settings.poll_wait_s if self._settings.poll_wait_s else float("inf")
                    self._look()
                self._load()
                self._unload()
            except Exception:  # The models that are there go on being served.
                _LOG.exception("could not bring the models up to date")
            with self._done:
                self._reached = wanted
                self._done.notify_all()
            busy = any(one.state is State.UNLOADING for one in self._all())
            self._wake.wait(_POLL_WHILE_UNLOADING_S if busy else min(self._settings.poll_wait_s or 1, 1))
            self._wake.clear()

    def _all(self) -> list[_Version]:
        with self._lock:
            return [one for versions in self._versions.values() for one in versions.values()]

    def _models(self) -> list[tuple[str, dict[int, _Version]]]:
        with self._lock:
            return list(self._versions.items())

    def _look(self) -> None:
        configs = self._configs
        with self._lock:
            for name, versions in self._versions.items():
                if name not in configs:
                    _aspire(versions, {}, "")
        for name, config in configs.items():
            try:
                children = [child.name for child in Path(config.base_path).iterdir()]
            except OSError as error:
                # A folder out of sight for a moment, as while it is replaced, unloads nothing.
                _LOG.warning("could not look for versions of %s in %s: %s", name, config.base_path, error.strerror)
                continue
            aspired = aspired_versions(children, config.policy)
            if not aspired:
                _LOG.warning("no versions of %s found under base path %s", name, config.base_path)
            with self._lock:
                _aspire(self._versions[name], aspired, config.base_path)

    def _load(self) -> None:
        for name, versions in self._models():
            for version in sorted(versions.values(), key=lambda one: one.number):
                if self._stop.is_set():
                    return
                if version.to_load(time.monotonic()):
                    self._try_to_load(name, version)

    def _try_to_load(self, model: str, version: _Version) -> None:
        version.state = State.LOADING
        servable = None
        try:
            servable = Servable(version.folder, self._settings.threads)
            warm_up(servable, version.folder, self._metrics)
        except Exception as error:  # A folder may hold anything; what is wrong with it becomes the version's status.
            if servable:
                servable.close()
            self._failed(model, version, _load_error(error))
            return
        batchers = {name: self._batcher(model, servable, name) for name in servable.signatures}
        with self._lock:
            version.servable, version.batchers, version.error = servable, batchers, None
            version.state = State.AVAILABLE
        _LOG.info("loaded version %d of %s", version.number, model)

    def _failed(self, model: str, version: _Version, error: ServingError) -> None:
        with self._lock:
            version.error = error
            version.failures += 1
            version.retry_at = time.monotonic() + self._settings.load_retry_interval_s
            if version.failures > self._settings.max_load_retries:
                version.state = State.END
        left = self._settings.max_load_retries + 1 - version.failures
        _LOG.warning("could not load version %d of %s (%d retries left): %s", version.number, model, left, error)

    def _batcher(self, model: str, servable: Servable, name: str) -> Batcher:
        signature = servable.signatures[name]

        def run(tensors: Tensors) -> Tensors:
            start = time.perf_counter()
            outputs = servable.run(signature, tensors)
            elapsed_us = (time.perf_counter() - start) * 1e6
            self._metrics.observe(RUNTIME_LATENCY, elapsed_us, model_name=model, API="Predict", runtime="TF1")
            return outputs

        def on_batch(_tasks: int, waited_s: float) -> None:
            self._metrics.observe(QUEUING_LATENCY, waited_s * 1e6, model_name=model)

        return Batcher(signature, run, self._executor, self._settings.batching, on_batch)

    def _unload(self) -> None:
        for name, versions in self._models():
            with self._lock:
                for version in _unneeded(versions.values()):
                    version.state = State.UNLOADING
                idle = [one for one in versions.values() if one.state is State.UNLOADING and not one.in_use()]
            for version in idle:
                servable, version.servable, version.batchers = version.servable, None, {}
                if servable:
                    servable.close()
                # One that was wanted back meanwhile is loaded anew.
                version.state = State.START if version.aspired else State.END
                _LOG.info("unloaded version %d of %s", version.number, name)


def _aspire(versions: dict[int, _Version], aspired: Mapping[int, str], base_path: str) -> None:
    for number, child in aspired.items():
        known = versions.get(number)
        if known is None or (known.state is State.END and not known.aspired):
            versions[number] = _Version(number, str(Path(base_path) / child))
        else:
            known.aspired = True
    for number, version in versions.items():
        version.aspired = number in aspired
        if not version.aspired and version.state in (State.START, State.LOADING):
            version.state = State.END


def _unneeded(versions: Iterable[_Version]) -> list[_Version]:
    """The loaded versions that may go: those not wanted, once a wanted one is there or none is wanted."""
    known = list(versions)
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
        return error
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    code = "NOT_FOUND" if isinstance(error, OSError) else "UNKNOWN"
    return ServingError(code, f"{type(error).__name__}: {error}")
