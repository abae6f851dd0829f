"""What a run that was killed leaves behind, and how two runs keep out of each other's way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.errors import PipelineInputError
from components.locks import Locked, exclusive, shared

_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Keeps a second run of one name away, for as long as the context lasts.

    Raises:
        PipelineInputError: another run is going on.
    """
    with _kept(exclusive(home / "lock"), home):
        yield


@contextmanager
def part_of_run(home: Path) -> Iterator[None]:
    """Lets a run's components run side by side in processes of their own, and keeps another run away meanwhile.

    Raises:
        PipelineInputError: another run is going on.
    """
    with _kept(shared(home / "lock"), home):
        yield


@contextmanager
def _kept(lock: AbstractContextManager[None], home: Path) -> Iterator[None]:
    try:
        with lock:
            yield
    except Locked as error:
        raise PipelineInputError(
            f"Another run writes to {home}. Wait for it to end, or give this one a name of its own."
        ) from error


def remove_leftovers(home: Path, connection: Any) -> None:
    """Removes what executions that never ended have written, and marks them as cancelled.

    Args:
        home: the folder of the pipeline's runs; no other run may be going on there.
        connection: the configuration of its metadata's database.
    """
    with metadata.Metadata(connection) as handle:
        unfinished = [run for run in handle.store.get_executions() if run.last_known_state in _UNFINISHED]
        for execution in unfinished:
            outputs = (home / "artifacts").glob(f"*/*/{execution.id}")
            working = (home / "artifacts").glob(f"*/.system/*/{execution.id}")
            for folder in chain(outputs, working):
                shutil.rmtree(folder)
            execution.last_known_state = metadata_store_pb2.Execution.CANCELED
        handle.store.put_executions(unfinished)
