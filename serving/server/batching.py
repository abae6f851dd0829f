"""Requests that arrive while the model is busy run together; none ever waits for others to come.

A batch runs beside another one only if it is full: smaller ones cost more a row.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.server.errors import ServingError
from serving.server.signatures import Signature, Tensors, TensorSpec

MAX_ELEMENTS = 1 << 22
"""Elements of one input that may be put together, padding included; a single request may have more."""

_PADDED = "padded"
_SEGMENTS_RANK = 3
_SEGMENTS_AXIS = 1


@dataclass(frozen=True)
class BatchSettings:
    """How requests run together.

    Attributes:
        max_rows: of a batch; a single request may have more. 1 runs every request by itself. Eight tracks fill a core's
            cache; more together take longer each.
        max_queued: requests that may wait.
        threads: batches that may run at the same time.
    """

    max_rows: int = 8
    max_queued: int = 1000
    threads: int = 2


@dataclass
class _Task:
    tensors: Tensors
    together: Hashable | None
    rows: int
    future: Future[Tensors] = field(default_factory=Future)
    queued: float = field(default_factory=time.monotonic)


class Batcher:
    """Runs the requests to one signature, in batches.

    Args:
        signature: what is run.
        run: runs it on tensors, in several threads at a time; raises ServingError.
        executor: whose threads it runs in.
        settings: how much runs together.
        on_batch: is told the tasks of a batch and how long its first waited, in seconds.
    """

    def __init__(
        self,
        signature: Signature,
        run: Callable[[Tensors], Tensors],
        executor: Executor,
        settings: BatchSettings,
        on_batch: Callable[[int, float], None] = lambda _tasks, _waited: None,
    ) -> None:
        self._signature = signature
        self._run = run
        self._executor = executor
        self._on_batch = on_batch
        self._settings = settings
        self._queue: deque[_Task] = deque()
        self._running = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self._running > 0

    def submit(self, tensors: Tensors) -> Future[Tensors]:
        """Queues a request; its future has the outputs, or a ServingError.

        Raises:
            ServingError: ``UNAVAILABLE`` if too many wait already.
        """
        rows = rows_of(self._signature, tensors)
        task = _Task(tensors, merge_key(self._signature, tensors) if rows else None, rows)
        with self._lock:
            if len(self._queue) >= self._settings.max_queued:
                raise ServingError("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full")
            self._queue.append(task)
            start = self._running < self._settings.threads and self._worth_a_thread(self._running)
            self._running += start
        if start:
            self._executor.submit(self._drain)
        return task.future

    def _worth_a_thread(self, others: int) -> bool:
        """Whether what waits may run beside so many other batches."""
        if not others:
            return bool(self._queue)
        first = itertools.islice(self._queue, self._settings.max_rows)
        return sum(max(task.rows, 1) for task in first) >= self._settings.max_rows

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._worth_a_thread(self._running - 1):
                    self._running -= 1
                    return
                batch = _take(self._queue, self._settings.max_rows)
            live = [task for task in batch if task.future.set_running_or_notify_cancel()]
            if live:
                self._on_batch(len(live), time.monotonic() - live[0].queued)
                self._answer(live)

    def _answer(self, tasks: Sequence[_Task]) -> None:
        if len(tasks) > 1:
            answers = self._together(tasks)
            if answers is not None:
                for task, answer in zip(tasks, answers, strict=True):
                    task.future.set_result(answer)
                return
        for task in tasks:
            try:
                answer = self._run(task.tensors)
            except Exception as error:  # Whatever it is, whoever waits for the answer gets it.
                task.future.set_exception(error)
            else:
                task.future.set_result(answer)

    def _together(self, tasks: Sequence[_Task]) -> list[Tensors] | None:
        """The answers to a batch; None if it failed, so that each request stands for itself."""
        rows = [task.rows for task in tasks]
        try:
            merged = self._run(merge([task.tensors for task in tasks]))
        except Exception:  # One request may have spoilt it for all: run alone, each meets its own fault.
            return None
        if any(output.ndim == 0 or len(output) != sum(rows) for output in merged.values()):
            return None
        bounds = np.cumsum([0, *rows])
        return [
            {name: output[start:stop] for name, output in merged.items()} for start, stop in itertools.pairwise(bounds)
        ]


def rows_of(signature: Signature, tensors: Tensors) -> int:
    """The rows that a request's inputs have in common; 0 if they have not, or if rows are not what the model takes."""
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    if not specs or not all(spec.shape and spec.shape[0] == -1 for spec in specs):
        return 0
    rows = {len(tensor) for tensor in tensors.values()}
    return rows.pop() if len(rows) == 1 else 0


def merge_key(signature: Signature, tensors: Tensors) -> Hashable:
    """What two requests must share to run together.

    Segments of different numbers are padded with zeros, which a model of tracks takes for none; only where no output's
    shape could show it.
    """
    hidden = all(-1 not in (spec.shape or ())[1:] for spec in signature.outputs.values())
    if hidden and all(_has_segments(spec) for spec in signature.inputs.values()):
        lengths = {tensor.shape[_SEGMENTS_AXIS] for tensor in tensors.values()}
        if len(lengths) == 1:
            return _PADDED
    return tuple(tensors[name].shape[1:] for name in sorted(tensors))


def merge(requests: Sequence[Tensors]) -> Tensors:
    """One request of all rows, padded with zeros where shapes differ."""
    return {name: _stacked([request[name] for request in requests]) for name in requests[0]}


def _has_segments(spec: TensorSpec) -> bool:
    shape = spec.shape or ()
    return (
        spec.dtype.is_floating
        and len(shape) == _SEGMENTS_RANK
        and shape[_SEGMENTS_AXIS] == -1
        and shape[_SEGMENTS_RANK - 1] > 0
    )


def _stacked(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    shape = _padded_shape([array.shape for array in arrays])
    if all(array.shape[1:] == shape[1:] for array in arrays):
        return np.concatenate(arrays)
    stacked = np.zeros(shape, arrays[0].dtype)
    start = 0
    for array in arrays:
        place = (slice(start, start + len(array)), *(slice(size) for size in array.shape[1:]))
        stacked[place] = array
        start += len(array)
    return stacked


def _padded_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return (sum(shape[0] for shape in shapes), *(max(sizes) for sizes in zip(*(s[1:] for s in shapes), strict=True)))


def _take(queue: deque[_Task], max_rows: int) -> list[_Task]:
    """Removes the first task, and those after it that may run together with it."""
    batch = [queue.popleft()]
    if batch[0].together is None:
        return batch
    shapes = {name: [tensor.shape] for name, tensor in batch[0].tensors.items()}
    rows = batch[0].rows
    left: list[_Task] = []
    while queue and rows < max_rows:
        task = queue.popleft()
        if task.together == batch[0].together and rows + task.rows <= max_rows and _fits(shapes, task.tensors):
            for name, tensor in task.tensors.items():
                shapes[name].append(tensor.shape)
            batch.append(task)
            rows += task.rows
        else:
            left.append(task)
    queue.extendleft(reversed(left))
    return batch


def _fits(shapes: Mapping[str, list[tuple[int, ...]]], tensors: Tensors) -> bool:
    return all(
        math.prod(_padded_shape([*shapes[name], tensor.shape])) <= MAX_ELEMENTS for name, tensor in tensors.items()
    )
