"""What a run that was killed leaves behind, and how two runs keep out of each other's way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from components.storage.files import fileio
from components.storage.locks import Locked, exclusive, shared
from deepmusic_genre.errors import PipelineInputError
from pipeline.metadata.database import executions_of
from pipeline.metadata.store import PatientMetadata

log = logging.getLogger("deepmusic.leftovers")

_WAIT_SECONDS = 1.0
_ENDED_WELL = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)
_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Keeps a second run of one name away, for as long as the context lasts.

    Raises:
        PipelineInputError: another run is going on.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(home / "lock"))
        except Locked as error:
            raise PipelineInputError(
                f"Another run writes to {home}. Wait for it to end, or give this one a name of its own."
            ) from error
        yield


@contextmanager
def next_run(home: Path) -> Iterator[None]:
    """Like :func:`only_run`, but waits for the other run to end."""
    with _waited_for(lambda: exclusive(home / "lock"), f"Another run writes to {home}"):
        yield


@contextmanager
def part_of_run(home: Path, component: str) -> Iterator[None]:
    """Lets a run's components run side by side in processes of their own, each of them once at a time.

    Waits for a run in a single process to end, and for another execution of the component: of another run, or of an
    earlier try whose process goes on though its runner has died.
    """
    locks = home / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (
        _waited_for(lambda: exclusive(locks / component), f"Another execution of {component} writes to {home}"),
        _waited_for(lambda: shared(home / "lock"), f"Another run writes to {home}"),
    ):
        yield


@contextmanager
def _waited_for(lock: Callable[[], AbstractContextManager[None]], reason: str) -> Iterator[None]:
    told = False
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock())
                break
            except Locked:
                if not told:
                    log.info("%s; waiting for it to end", reason)
                    told = True
                time.sleep(_WAIT_SECONDS)
        yield


def remove_leftovers(artifacts: str, connection: Any, pipeline: str) -> None:
    """Removes what executions that did not end well have written, and marks those that never ended as cancelled.

    Args:
        artifacts: Folder of all runs' artifacts; no run may be going on there.
        connection: Configuration of their metadata's database.
        pipeline: Their name; others' runs that the database holds may be going on.
    """
    with PatientMetadata(connection) as handle:
        # TFX takes up a cancelled execution again without a word of it: it may have been killed a second time.
        ended_badly = [run for run in executions_of(handle.store, pipeline) if run.last_known_state not in _ENDED_WELL]
        for execution in ended_badly:
            for context in handle.store.get_contexts_by_execution(execution.id):
                _remove_folders(f"{artifacts}/{context.name}", execution.id)
        unfinished = [run for run in ended_badly if run.last_known_state in _UNFINISHED]
        for execution in unfinished:
            execution.last_known_state = metadata_store_pb2.Execution.CANCELED
        handle.store.put_executions(unfinished)


def _remove_folders(run: str, execution: int) -> None:
    """Removes the folders of an execution below that of its run; nothing for the name of something else."""
    if not fileio.exists(run):
        return
    for pattern in (f"{run}/*/*/{execution}", f"{run}/*/.system"):
        for folder in fileio.glob(pattern):
            fileio.rmtree(folder)
