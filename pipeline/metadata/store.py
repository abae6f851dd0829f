"""ML Metadata's database, which several processes share: one that finds it locked or away waits for it."""

from __future__ import annotations

import copy
from pathlib import Path
from types import TracebackType

from ml_metadata.errors import InternalError, UnavailableError
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline.metadata.database import MetadataAway, connect, server_of, with_password
from pipeline.metadata.database_file import await_unlocked

# Of some two seconds each; MLMD's own five give up after a quarter of a minute.
_RETRIES = 120


class PatientMetadata(metadata.Metadata):
    """TFX's handle of ML Metadata, which waits minutes for a locked SQLite file or a server that is away, not seconds.

    A component's outputs are worth the wait: were they not published, all of its work would be done again.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        """Takes the configuration of the database; a server's password comes from the environment."""
        self._server = server_of(connection)
        self._file = Path(connection.sqlite.filename_uri) if connection.sqlite.filename_uri else None
        connection = with_password(connection) if self._server else copy.deepcopy(connection)
        connection.retry_options.max_num_retries = _RETRIES
        super().__init__(connection)

    def __enter__(self) -> metadata.Metadata:
        """Opens the database; raises MetadataLocked or MetadataAway."""
        if self._server is not None:
            self._store = connect(self._connection_config, self._server)
            self._users += 1
            return self
        if self._file is not None:
            await_unlocked(self._file)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Closes the database; raises MetadataAway for what a server that went away meanwhile has made of a call."""
        super().__exit__(kind, error, trace)
        if self._server is not None and isinstance(error, InternalError | UnavailableError):
            raise MetadataAway(self._server, " ".join(str(error).split())) from error
