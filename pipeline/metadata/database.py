"""ML Metadata's database: a file of this machine, or a server's, which runs of many names share. Without TFX."""

from __future__ import annotations

import copy
import logging
import os
import random
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message
from ml_metadata.errors import StatusError
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import (
    Artifact,
    ConnectionConfig,
    Context,
    ContextType,
    Execution,
    SqliteMetadataSourceConfig,
)

from components.storage.secrets import read_secret
from deepmusic_genre.errors import PipelineInputError
from pipeline.metadata.address import PASSWORD_VARIABLE, Address
from pipeline.metadata.database_file import require_undamaged
from pipeline.settings import Settings

log = logging.getLogger("deepmusic.metadata")

_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_TRIES = 10
_STANDARD_ERROR = 2
_CLAIM = "deepmusic_folder"
_KINDS = ("artifact", "execution", "context")
_SUBSTITUTE = "\x1a"  # The control character of that name, which stands in no path, name or JSON.
_PIPELINE = "pipeline"  # What TFX calls the type of the context that all of a pipeline's runs share.
_CLIENT_SAYS = re.compile(r"(?:PostgreSQL error|mysql_real_connect failed): (?:errno: \d+, error: )?(.+)", re.DOTALL)

_PASSES = re.compile("starting up|shutting down|in recovery")


class MetadataAway(Exception):
    """The server does not answer, or not any more."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(
            f"The metadata's database at {address} is not available ({reason}). Run the same command when it is: what"
            " is finished comes from the cache."
        )


class _Store(MetadataStore):
    """ML Metadata's client, with which PostgreSQL keeps backslashes, and answers in the order that SQLite does.

    It puts libpq's literals between quotes of its own, and those of texts with a backslash are quoted in another way:
    every such text, as JSON in JSON, would be a syntax error. And TFX's cache takes artifacts for answered in the order
    that it asks for them in, or it confounds the outputs of a component.
    """

    def _call_method(self, method_name: str, request: Any, response: Any) -> None:
        _replace(request, "\\", _SUBSTITUTE)
        super()._call_method(method_name, request, response)
        _replace(response, _SUBSTITUTE, "\\")
        _put_in_order(request, response)


def _put_in_order(request: Any, response: Any) -> None:
    """Sorts what has been found by the numbers that were asked for, or else by number."""
    asked, answered = request.DESCRIPTOR.fields_by_name, response.DESCRIPTOR.fields_by_name
    if "options" in asked and request.HasField("options"):
        return  # What comes in pages has an order.
    for kind in _KINDS:
        if f"{kind}s" in answered:
            numbers = getattr(request, f"{kind}_ids") if f"{kind}_ids" in asked else ()
            place = {number: index for index, number in enumerate(numbers)}
            getattr(response, f"{kind}s").sort(key=lambda each, place=place: place.get(each.id, each.id))


def _replace(message: Any, old: str, new: str) -> None:
    """Replaces a character in all texts of a message."""
    if old.encode() not in message.SerializeToString():
        return
    for field, value in message.ListFields():
        repeated = field.label == field.LABEL_REPEATED
        if field.type == field.TYPE_STRING:
            if repeated:
                value[:] = [text.replace(old, new) for text in value]
            else:
                setattr(message, field.name, value.replace(old, new))
        elif field.type == field.TYPE_MESSAGE:
            parts = value.values() if field.message_type.GetOptions().map_entry else value if repeated else [value]
            for part in parts:
                if isinstance(part, Message):
                    _replace(part, old, new)


def connection_of(settings: Settings) -> ConnectionConfig:
    """How the database is reached; without the password, as a compiled pipeline is written down with it."""
    config = ConnectionConfig()
    address = settings.metadata.address
    if address is None:
        config.sqlite.filename_uri = str(database_file(settings))
        config.sqlite.connection_mode = SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    elif address.kind == "postgresql":
        server = config.postgresql
        server.host, server.port = address.host, str(address.port)
        server.user, server.dbname = address.user, address.name
    else:
        server = config.mysql
        server.host, server.port = address.host, address.port
        server.user, server.database = address.user, address.name
    return config


def database_file(settings: Settings) -> Path:
    """The file of the metadata, where no server keeps them."""
    return Path(settings.home) / "metadata.sqlite"


def server_of(connection: ConnectionConfig) -> Address | None:
    """The server that a configuration names; None for a file."""
    if connection.HasField("postgresql"):
        server = connection.postgresql
        return Address("postgresql", server.user, server.host, int(server.port), server.dbname)
    if connection.HasField("mysql"):
        server = connection.mysql
        return Address("mysql", server.user, server.host, server.port, server.database)
    return None


def with_password(connection: ConnectionConfig) -> ConnectionConfig:
    """A copy with the password, for the client alone; nobody writes it down.

    Raises:
        PipelineInputError: see :func:`components.storage.secrets.read_secret`.
    """
    connection = copy.deepcopy(connection)
    password = read_secret(PASSWORD_VARIABLE)
    if connection.HasField("mysql"):
        connection.mysql.password = password
    elif password:
        # ML Metadata puts it between others for libpq to parse, which would show the rest of one with a space in it.
        escaped = password.replace("\\", "\\\\").replace("'", "\\'")
        connection.postgresql.password = f"'{escaped}'"
    return connection


def require_database(settings: Settings) -> None:
    """Looks whether the metadata's database can be used, before anything is done that would be in vain.

    The lock of the runs of this name has to be held.

    Raises:
        PipelineInputError: A server does not answer or does not let this user in, or knows the runs of another folder
            by this name, or a file is damaged.
        MetadataLocked: Another process keeps the file locked.
    """
    address = settings.metadata.address
    if address is None:
        require_undamaged(database_file(settings))
    else:
        _claim_name(open_server(settings, address), settings, address)


def has_runs(settings: Settings) -> bool:
    """Whether there were runs of this name; raises as :func:`open_server`."""
    address = settings.metadata.address
    if address is None:
        return database_file(settings).is_file()
    return _context_of(open_server(settings, address), settings.name) is not None


def open_server(settings: Settings, address: Address) -> MetadataStore:
    """Opens a server's database; what ML Metadata needs there is made if it is missing.

    Raises:
        PipelineInputError: It does not answer, or does not let this user in.
    """
    try:
        return connect(with_password(connection_of(settings)), address, patience=0)
    except MetadataAway as away:
        raise PipelineInputError(str(away)) from away


def connect(connection: ConnectionConfig, address: Address, patience: float = _PATIENCE_SECONDS) -> MetadataStore:
    """Opens a server's database.

    Args:
        connection: with the password.
        address: the same without.
        patience: Seconds to wait while nothing answers.

    Raises:
        MetadataAway: It does not answer, or does not let this user in.
    """
    for _ in range(_TRIES):
        await_server(address, patience)
        with _said_by_client() as said:
            try:
                return _Store(connection)
            except (RuntimeError, StatusError) as error:
                reason = str(error)
        if refused := _CLIENT_SAYS.search("".join(said)):
            reason = refused[1]
            if "password" in reason:
                reason += f"; it is taken from {PASSWORD_VARIABLE}, in the environment or in .env"
            if not (_PASSES.search(reason) or _refusal(address)):
                break
        # It is about to stop or to start, or another process makes its tables at this moment.
        time.sleep(2 * random.random())  # noqa: S311 - no secret.
    raise MetadataAway(address, " ".join(reason.split()))


def await_server(address: Address, patience: float = _PATIENCE_SECONDS) -> None:
    """Waits until a server takes connections, and says so if that takes time.

    Args:
        address: its own.
        patience: Seconds to wait.

    Raises:
        MetadataAway: It still takes none after that.
    """
    end = time.monotonic() + patience
    told = False
    while reason := _refusal(address):
        if time.monotonic() >= end:
            raise MetadataAway(address, reason)
        if not told:
            log.info("The metadata's database at %s is away; waiting for it, %.0f s at most", address, patience)
            told = True
        time.sleep(_LOOK_SECONDS)


def artifacts_of(store: MetadataStore, pipeline: str) -> list[Artifact]:
    """All artifacts of a pipeline's runs, and of no other's that shares the database."""
    context = _context_of(store, pipeline)
    return list(store.get_artifacts_by_context(context.id)) if context else []


def executions_of(store: MetadataStore, pipeline: str) -> list[Execution]:
    """All executions of a pipeline's runs, and of no other's that shares the database."""
    context = _context_of(store, pipeline)
    return list(store.get_executions_by_context(context.id)) if context else []


def _context_of(store: MetadataStore, pipeline: str) -> Context | None:
    return store.get_context_by_type_and_name(_PIPELINE, pipeline)


def _claim_name(store: MetadataStore, settings: Settings, address: Address) -> None:
    """Keeps runs of two folders apart that are called the same: each would take the other's for its own killed ones.

    The folder may be shared by several machines, and moved.
    """
    file = Path(settings.home) / _CLAIM
    if not file.exists():
        file.write_text(uuid4().hex, encoding="utf-8")
    own, place = file.read_text(encoding="utf-8"), f"{socket.gethostname()}:{settings.home}"
    kind = store.put_context_type(ContextType(name=_CLAIM))
    claim = store.get_context_by_type_and_name(_CLAIM, settings.name)
    # Where the folder was removed and made again, it is the same one.
    if claim and own != claim.custom_properties["key"].string_value:
        claimed_by = claim.custom_properties["place"].string_value
        if claimed_by != place:
            raise PipelineInputError(
                f"In {address}, runs of the name {settings.name} are those of {claimed_by}, whose artifacts are not"
                " these. Give the runs here a name of their own."
            )
    claim = claim or Context(type_id=kind, name=settings.name)
    claim.custom_properties["key"].string_value = own
    claim.custom_properties["place"].string_value = place
    store.put_contexts([claim])


def _refusal(address: Address) -> str:
    """Why nothing takes connections at an address; empty if something does."""
    try:
        socket.create_connection((address.host, address.port), _ANSWER_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _said_by_client() -> Iterator[list[str]]:
    """A list that gets, at its end, what was written to standard error: where alone the client gives its reasons."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(_STANDARD_ERROR)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield said
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)
            file.seek(0)
            said.append(file.read())
