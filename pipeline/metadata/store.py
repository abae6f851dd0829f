"""ML Metadata's database, which several processes share: one that finds it locked waits for it."""

from __future__ import annotations

import copy
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from deepmusic_genre.errors import PipelineInputError

log = logging.getLogger("deepmusic.metadata")

_PATIENCE_SECONDS = 300.0
_TRY_SECONDS = 2.0
# Of some two seconds each; MLMD's own five give up after a quarter of a minute.
_RETRIES = 120


class MetadataLocked(Exception):
    """Another process kept the database locked for minutes."""


class MetadataDamaged(PipelineInputError):
    """The database's file is damaged."""

    def __init__(self, file: Path, reason: object) -> None:
        super().__init__(
            f"The metadata of runs in {file} are damaged ({reason}). Lost are the cache, so that the next run computes"
            " everything again, and which run made what. Pushed versions, reports and what was read of the data are"
            f" not affected. Move the file away and run again: mv '{file}' '{file}.damaged'"
        )


class PatientMetadata(metadata.Metadata):
    """TFX's handle of ML Metadata, which waits for a locked SQLite file for five minutes instead of seconds.

    A component's outputs are worth the wait: were they not published, all of its work would be done again.
    """

    def __init__(self, connection: Any) -> None:
        """Takes the configuration of the database."""
        self._file: Path | None = None
        if isinstance(connection, metadata_store_pb2.ConnectionConfig) and connection.sqlite.filename_uri:
            connection = copy.deepcopy(connection)
            connection.retry_options.max_num_retries = _RETRIES
            self._file = Path(connection.sqlite.filename_uri)
        super().__init__(connection)

    def __enter__(self) -> metadata.Metadata:
        """Opens the database; raises MetadataLocked."""
        if self._file is not None:
            await_unlocked(self._file)
        return super().__enter__()


def await_unlocked(file: Path, patience: float = _PATIENCE_SECONDS) -> None:
    """Waits until a SQLite database can be written to, and says so if that takes time.

    Args:
        file: the database; made if it is not there.
        patience: seconds to wait.

    Raises:
        MetadataLocked: it is still locked after that.
        MetadataDamaged: The file is no database, or not a whole one.
    """
    end = time.monotonic() + patience
    told = False
    while not _can_be_written(file, min(_TRY_SECONDS, patience)):
        if time.monotonic() >= end:
            raise MetadataLocked(
                f"{file} has been locked by another process for {patience:.0f} s: end that process, and run this again."
            )
        if not told:
            log.info("%s is locked by another process; waiting for it, %.0f s at most", file, patience)
            told = True


def _can_be_written(file: Path, timeout: float) -> bool:
    with closing(sqlite3.connect(file, timeout=timeout, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return False
            raise
        except sqlite3.DatabaseError as error:
            raise MetadataDamaged(file, error) from error
    return True


def require_undamaged(file: Path) -> None:
    """Reads all of a SQLite database once, if it is there; raises MetadataDamaged.

    ML Metadata itself finds damage where it happens to read, in the middle of a run, and tells it as SQL.
    """
    if not file.exists():
        return
    with closing(sqlite3.connect(file)) as connection:
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            raise MetadataDamaged(file, error) from error
    if found != "ok":
        raise MetadataDamaged(file, found.splitlines()[0])
