"""ML Metadata's database, which several processes share: one that finds it locked waits for it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline.metadata.database_file import await_unlocked

# Of some two seconds each; MLMD's own five give up after a quarter of a minute.
_RETRIES = 120


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
