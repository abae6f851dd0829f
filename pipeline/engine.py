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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import apache_beam as beam
import httpx
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner
from apache_beam.runners.portability.portable_runner import PipelineResult, PortableRunner
from apache_beam.runners.runner import PipelineState

ENOUGH_FILES = 64
"""From so many files on, each of 32 hosts has two to read, and the records stay where they are read."""

CANCEL_SECONDS = 30
"""How long an engine may take to say that it has cancelled a job."""

_AGAIN_SECONDS = 0.2
_ENDED = {"CANCELED", "FAILED", "FINISHED"}
"""A Flink job's states that it does not leave."""

_IN_PROCESS = {"bundlebaseddirect", "direct", "fnapi", "prism", "switchingdirect"}
"""Runners that start workers themselves, with this Python; in lower case, without what all names end in."""

log = logging.getLogger("deepmusic.beam")


def in_process(runner: str) -> bool:
    """Whether a runner, by its name, works in this process, or in others that it starts and ends itself."""
    return runner.rpartition(".")[2].lower().removesuffix("runner") in _IN_PROCESS


@contextmanager
def engine_jobs() -> Iterator[None]:
    """While it lasts, new pipelines spread what they read, and a job whose caller is stopped is cancelled."""
    read, run = beam.io.ReadFromTFRecord, PortableRunner.run_portable_pipeline
    beam.io.ReadFromTFRecord = _SpreadRead
    PortableRunner.run_portable_pipeline = _cancelling(run)
    try:
        yield
    finally:
        beam.io.ReadFromTFRecord, PortableRunner.run_portable_pipeline = read, run


def cancel(result: PipelineResult, options: PipelineOptions) -> None:
    """Cancels a job, and logs what became of it, after :data:`CANCEL_SECONDS` at most.

    Args:
        result: the job's.
        options: those that it was submitted with.
    """
    cancelled = threading.Event()
    # A server that does not answer any more would be waited for without end.
    asking = threading.Thread(target=_cancel, args=(result, options, cancelled), daemon=True)
    asking.start()
    asking.join(CANCEL_SECONDS)
    job = getattr(result, "_job_id", "without a name")
    if cancelled.is_set():
        log.info("The Beam job %s was cancelled", job)
    else:
        log.warning("The Beam job %s could not be cancelled: look whether it still runs on the engine", job)


def cancel_on_flink(master: str, name: str) -> None:
    """Cancels a job on a Flink cluster by Flink's own interface, and waits until it is.

    Beam's job server forgets a job that it is told to cancel, and Flink goes on with it.

    Args:
        master: ``host:port`` of the cluster's REST interface.
        name: the job's on the cluster.

    Raises:
        httpx.HTTPError: the cluster does not answer.
        ValueError: several jobs have this name.
    """
    with httpx.Client(base_url=FlinkRunner.add_http_scheme(master), timeout=CANCEL_SECONDS) as cluster:
        while running := [job for job in _flink_jobs(cluster) if job["name"] == name and job["state"] not in _ENDED]:
            if len(running) > 1:
                raise ValueError(f"{len(running)} jobs are called {name}")
            if running[0]["state"] != "CANCELLING":
                cluster.patch(f"/jobs/{running[0]['jid']}", params={"mode": "cancel"}).raise_for_status()
            time.sleep(_AGAIN_SECONDS)


def _flink_jobs(cluster: httpx.Client) -> list[dict[str, str]]:
    jobs: list[dict[str, str]] = cluster.get("/jobs/overview").raise_for_status().json()["jobs"]
    return jobs


def _cancel(result: PipelineResult, options: PipelineOptions, cancelled: threading.Event) -> None:
    try:
        result.cancel()
        while not PipelineState.is_terminal(result.state):
            time.sleep(_AGAIN_SECONDS)
        master = options.view_as(FlinkRunnerOptions).flink_master
        if master not in MAGIC_HOST_NAMES:
            # The job server makes a job's id of its name on Flink.
            cancel_on_flink(master, result._job_id.rpartition("_")[0])
    except Exception:  # Whatever a job server, a cluster or the connection to it raises.
        log.debug("cancelling a Beam job", exc_info=True)
    else:
        cancelled.set()


def _cancelling(run: Callable[..., PipelineResult]) -> Callable[..., PipelineResult]:
    @wraps(run)
    def run_portable_pipeline(runner: PortableRunner, pipeline: Any, options: PipelineOptions) -> PipelineResult:
        result = run(runner, pipeline, options)
        wait = result.wait_until_finish

        def wait_until_finish(duration: int | None = None) -> Any:
            try:
                return wait(duration)
            except KeyboardInterrupt:
                cancel(result, options)
                raise

        result.wait_until_finish = wait_until_finish
        return result

    return run_portable_pipeline


class _SpreadRead(beam.io.ReadFromTFRecord):
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
