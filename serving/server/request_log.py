"""Tracks that were served, as tf.Examples in TFRecord files: what drift is measured on."""

from __future__ import annotations

import logging
import os
import random
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from serving.server.errors import ServingError
from serving.server.metrics import REQUEST_LOG_COUNT, Metrics
from serving.server.signatures import Signature, Tensors
from serving.server.tracks import are_tracks, track_examples

SUFFIX = ".tfrecord"
"""Of a file that is whole; while it is written, there is more behind it."""

MAX_QUEUED_BYTES = 32 << 20
"""Bytes of requests that wait to be written."""

_LOG = logging.getLogger(__name__)
_UNFINISHED = ".part"
_FILES = 8
_MAX_FILE_BYTES = 16 << 20
# Lengths and checksums.
_RECORD_OVERHEAD = 16


@dataclass(frozen=True)
class LogConfig:
    """What is logged, and how much is kept.

    Attributes:
        filename_prefix: Beginning of the files' paths.
        sampling_rate: Share of the requests, 0..1.
        max_bytes: Bytes of all files together; the oldest file goes first.
        max_file_s: Seconds until a file is closed and appears.
    """

    filename_prefix: str
    sampling_rate: float = 1
    max_bytes: int = 256 << 20
    max_file_s: float = 60


class RequestLog:
    """Logs a model's requests. Every method may be called from any thread."""

    def __init__(self, model: str, config: LogConfig, metrics: Metrics) -> None:
        self._config = config
        self._model = model
        self._metrics = metrics
        self._writer = _Files(config)
        self._queue: deque[tuple[Tensors, int]] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._failing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="request log", daemon=True)
        self._thread.start()

    def offer(self, signature: Signature, tensors: Tensors) -> None:
        """Logs tracks that were answered, if chance wants it; never waits and never fails."""
        if not are_tracks(signature) or random.random() >= self._config.sampling_rate:  # noqa: S311 - no secret
            return
        size = sum(map(_size, tensors.values()))
        with self._changed:
            full = self._closing or self._queued_bytes + size > MAX_QUEUED_BYTES
            if not full:
                self._queue.append((tensors, size))
                self._queued_bytes += size
                self._changed.notify()
        if full:
            self._count("RESOURCE_EXHAUSTED")

    def close(self) -> None:
        """Writes what waits, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _count(self, code: str) -> None:
        self._metrics.count(REQUEST_LOG_COUNT, model_name=self._model, status_code=code)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing, self._writer.seconds_left())
                ended = self._closing and not self._queue
                tensors, size = self._queue[0] if self._queue else (None, 0)
            self._attempt(tensors, ended)
            with self._changed:
                if tensors is not None:
                    self._queue.popleft()
                    self._queued_bytes -= size
            if ended:
                return

    def _attempt(self, tensors: Tensors | None, ended: bool) -> None:
        try:
            if tensors is not None:
                for record in track_examples(tensors):
                    self._writer.add(record)
                self._count("OK")
            if ended or not self._writer.seconds_left():
                self._writer.finish()
            self._failing = False
        except Exception as error:  # Whatever it is, requests are answered all the same.
            if tensors is not None:
                self._count("INTERNAL")
            if not self._failing:
                _LOG.warning("could not log requests to %s: %s", self._config.filename_prefix, error)
            self._failing = True


class _Files:
    """Writes records to one file after another, and removes the oldest."""

    def __init__(self, config: LogConfig) -> None:
        self._prefix = Path(config.filename_prefix)
        self._config = config
        self._max_file_bytes = min(_MAX_FILE_BYTES, config.max_bytes // _FILES)
        self._numbers = count()
        self._writer: tf.io.TFRecordWriter | None = None
        self._path = Path()
        self._bytes = 0
        self._until = 0.0

    def seconds_left(self) -> float | None:
        """How long the file may stay open; None if there is none."""
        return None if self._writer is None else max(0.0, self._until - time.monotonic())

    def add(self, record: bytes) -> None:
        size = len(record) + _RECORD_OVERHEAD
        if size > self._max_file_bytes:
            raise ValueError(f"an example of {len(record)} bytes is larger than a file may be")
        if self._bytes + size > self._max_file_bytes:
            self.finish()
        self._writer = self._writer or self._open()
        self._writer.write(record)
        self._bytes += size

    def finish(self) -> None:
        """Lets the file appear, if there is one."""
        writer, self._writer, self._bytes = self._writer, None, 0
        if writer is not None:
            writer.close()
            self._path.rename(self._path.with_suffix(""))

    def _open(self) -> tf.io.TFRecordWriter:
        self._make_room()
        name = f"{self._prefix.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(self._numbers)}"
        self._path = self._prefix.with_name(f"{name}{SUFFIX}{_UNFINISHED}")
        self._until = time.monotonic() + self._config.max_file_s
        return tf.io.TFRecordWriter(str(self._path))

    def _make_room(self) -> None:
        """For another file; what a server that was killed did not finish counts, too."""
        found = []
        for path in self._prefix.parent.glob(f"{self._prefix.name}-*{SUFFIX}*"):
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + self._max_file_bytes <= self._config.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def make_folder(config: LogConfig) -> None:
    """Makes the folder that a log's files go to.

    Raises:
        ServingError: it cannot be made or written to.
    """
    folder = Path(config.filename_prefix).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise ServingError("FAILED_PRECONDITION", f"could not write logs to {folder}: {error.strerror}") from None


def _size(array: npt.NDArray[Any]) -> int:
    if array.dtype == object:
        return sum(map(len, array.ravel().tolist()))
    return array.nbytes
