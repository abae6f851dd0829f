"""What Beam's jobs are made to do where an engine outside of this process runs them, and Beam alone would not.

- TFX's own components read TFRecords with ``beam.io.ReadFromTFRecord``, which splits a pattern into its files and reads
  them in one go. An engine that fuses the two, as Flink does, has one worker read everything and compute everything
  that follows, whatever the number of hosts. A shuffle spreads the files; where they are few, another one the records.
- An interrupted process leaves its job behind. The engine goes on with it, and writes into the folders of a run that is
  over.

Neither is done for runners that work in this process: there a shuffle only costs, and a job ends with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.portability.portable_runner import PipelineResult
from apache_beam.runners.runner import PipelineState

ENOUGH_FILES = 64
"""From so many files on, each of 32 hosts has two to read, and the records stay where they are read."""

CANCEL_SECONDS = 10
"""How long an engine may take to say that it has cancelled a job."""

_IN_PROCESS = {"bundlebaseddirect", "direct", "fnapi", "prism", "switchingdirect"}
"""Runners that start workers themselves, with this Python; in lower case, without what all names end in."""

log = logging.getLogger("deepmusic.beam")


def in_process(runner: str) -> bool:
    """Whether a runner, by its name, works in this process, or in others that it starts and ends itself."""
    return runner.rpartition(".")[2].lower().removesuffix("runner") in _IN_PROCESS


@contextmanager
def engine_jobs() -> Iterator[None]:
    """While it lasts, new pipelines spread what they read, and a job whose caller is stopped is cancelled."""
    read, wait = beam.io.ReadFromTFRecord, PipelineResult.wait_until_finish
    beam.io.ReadFromTFRecord = _SpreadRead
    PipelineResult.wait_until_finish = _cancelling(wait)
    try:
        yield
    finally:
        beam.io.ReadFromTFRecord, PipelineResult.wait_until_finish = read, wait


def cancel(result: PipelineResult) -> None:
    """Cancels a job, and logs what became of it, after :data:`CANCEL_SECONDS` at most."""
    states: list[str] = []
    # A server that does not answer any more would be waited for without end.
    asking = threading.Thread(target=_cancel, args=(result, states), daemon=True)
    asking.start()
    asking.join(CANCEL_SECONDS)
    job = getattr(result, "_job_id", "job")
    if states and PipelineState.is_terminal(states[0]):
        log.info("Beam's job %s was cancelled", job)
    else:
        log.warning("Beam's job %s could not be cancelled: cancel it on the engine, it may still run there", job)


def _cancel(result: PipelineResult, states: list[str]) -> None:
    try:
        result.cancel()
        states.append(result.state)
    except Exception:  # Whatever the job's server or its connection raises.
        log.debug("cancelling a Beam job", exc_info=True)


def _cancelling(wait: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(wait)
    def wait_until_finish(result: PipelineResult, duration: int | None = None) -> Any:
        try:
            return wait(result, duration)
        except KeyboardInterrupt:
            cancel(result)
            raise

    return wait_until_finish


class _SpreadRead(beam.io.ReadFromTFRecord):  # type: ignore[misc]
    """Beam's transform of this name, with its arguments, which spreads what it reads."""

    def __init__(
        self,
        file_pattern: str,
        coder: beam.coders.Coder = beam.coders.BytesCoder(),  # noqa: B008 - as Beam's
        compression_type: str = CompressionTypes.AUTO,
        validate: bool = True,
    ) -> None:
        super().__init__(file_pattern, coder, compression_type, validate)
        self._pattern = file_pattern
        read_all = beam.io.ReadAllFromTFRecord(coder, compression_type)
        self._read_all = read_all.with_output_types(coder.to_type_hint())

    def expand(self, pvalue: Any) -> Any:
        if in_process(type(pvalue.pipeline.runner).__name__):
            return super().expand(pvalue)
        (match,) = FileSystems.match([self._pattern])
        records = pvalue.pipeline | beam.Create([self._pattern]) | self._read_all
        return records if len(match.metadata_list) >= ENOUGH_FILES else records | "Spread" >> beam.Reshuffle()
