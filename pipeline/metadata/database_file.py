"""The file of ML Metadata's database: whether another process holds it, and whether it is whole. Without TFX."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from deepmusic_genre.errors import PipelineInputError

log = logging.getLogger("deepmusic.metadata")

_PATIENCE_SECONDS = 300.0
_TRY_SECONDS = 2.0


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


def await_unlocked(file: Path, patience: float = _PATIENCE_SECONDS) -> None:
    """Waits until a SQLite database can be written to, and says so if that takes time.

    Args:
        file: Database; made if it is not there.
        patience: Seconds to wait.

    Raises:
        MetadataLocked: It is still locked after that.
        MetadataDamaged: The file is not a database, or not a whole one.
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


def require_undamaged(file: Path) -> None:
    """Reads all of a SQLite database once, if it is there.

    ML Metadata itself finds damage where it happens to read, in the middle of a run, and tells it as SQL.

    Raises:
        MetadataLocked: Another process keeps it locked.
        MetadataDamaged: It is damaged.
    """
    if not file.exists():
        return
    await_unlocked(file)
    with closing(sqlite3.connect(file)) as connection:
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            raise  # It has been locked since, or cannot be opened.
        except sqlite3.DatabaseError as error:
            raise MetadataDamaged(file, error) from error
    if found != "ok":
        raise MetadataDamaged(file, found.splitlines()[0])


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
