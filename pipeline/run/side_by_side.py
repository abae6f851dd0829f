"""Components of a run that do not wait for each other, at the same time, each in a fork of this process."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

from tfx.proto.orchestration import pipeline_pb2

from components.forks import Forks
from components.storage.staging import Copies
from deepmusic_genre.errors import ComponentFailed
from deepmusic_genre.process import Stopped
from pipeline.run.launch import Launched, Outputs, Work, launch

_STOP_SECONDS = 30
"""How long a component may take to end when the run is stopped."""

log = logging.getLogger("deepmusic.run")


class Observer(Protocol):
    """Who is told how a run goes."""

    def started(self, component: str) -> None:
        """A component begins."""

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """A component ended well, by running or by taking what an earlier run made."""


class SideBySide:
    """Runs a pipeline's nodes.

    A thread a component does all that is not the component's own work. Only one thread at a time does anything but wait
    for a fork: metadata are not asked by two at once, and a fork is made where no other thread holds a lock.
    """

    def __init__(self, pipeline: pipeline_pb2.Pipeline, copies: Copies, observer: Observer) -> None:
        """Takes a compiled pipeline, named as one run of it; ``copies`` and ``observer`` as the runner has them."""
        self._pipeline = pipeline
        self._copies = copies
        self._observer = observer
        self._turn = threading.Lock()
        self._forks = Forks()
        self._running: dict[Future[Launched], str] = {}

    def run(self, nodes: Sequence[pipeline_pb2.PipelineNode], limit: int) -> dict[str, Outputs]:
        """Runs nodes, each after those upstream.

        Args:
            nodes: the pipeline's, in topological order.
            limit: how many at a time.

        Returns:
            Each node's outputs.

        Raises:
            ComponentFailed: the first that failed, when those that ran beside it have ended.
        """
        waiting = {node.node_info.id: node for node in nodes}
        outputs: dict[str, Outputs] = {}
        failed: list[ComponentFailed] = []
        with ThreadPoolExecutor(limit) as threads:
            try:
                while self._running or (waiting and not failed):
                    if not failed:
                        for node in _ready(waiting, outputs)[: limit - len(self._running)]:
                            self._start(threads, waiting.pop(node.node_info.id))
                    for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                        component = self._running.pop(future)
                        try:
                            outputs[component] = self._ended(component, future)
                        except ComponentFailed as failure:
                            failed.append(failure)
            except KeyboardInterrupt as stop:
                self._forks.stop(stop.signal if isinstance(stop, Stopped) else signal.SIGINT, _STOP_SECONDS)
                raise
        if failed:
            raise failed[0]
        return outputs

    def _start(self, threads: ThreadPoolExecutor, node: pipeline_pb2.PipelineNode) -> None:
        component = node.node_info.id
        with self._turn:
            self._observer.started(component)
            self._running[threads.submit(self._launch, node)] = component

    def _launch(self, node: pipeline_pb2.PipelineNode) -> Launched:
        with self._turn:
            return launch(self._pipeline, node, self._copies, partial(self._in_fork, node.node_info.id))

    def _in_fork(self, component: str, work: Work) -> bytes:
        answer = self._forks.start(work)
        self._turn.release()
        try:
            return answer(partial(self._hear, component))
        finally:
            self._turn.acquire()

    def _ended(self, component: str, future: Future[Launched]) -> Outputs:
        with self._turn:
            error = future.exception()
            if isinstance(error, ComponentFailed) and self._running:
                log.info("%s failed; %s goes on to its end", component, " and ".join(self._running.values()))
            launched = future.result()
            self._observer.finished(component, launched.seconds, launched.cached)
            return launched.outputs

    def _hear(self, component: str, record: logging.LogRecord) -> None:
        with self._turn:
            record.component = component
            logging.getLogger(record.name).handle(record)


def _ready(waiting: dict[str, pipeline_pb2.PipelineNode], ended: dict[str, Outputs]) -> list[pipeline_pb2.PipelineNode]:
    return [node for node in waiting.values() if ended.keys() >= set(node.upstream_nodes)]
