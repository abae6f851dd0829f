"""The address of a database server that keeps the metadata of runs, as settings give it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PASSWORD_VARIABLE = "DEEPMUSIC_METADATA_PASSWORD"  # noqa: S105 - the variable's name.

_PORTS = {"postgresql": 5432, "mysql": 3306}
# What ML Metadata joins to what its clients parse has no character that they would take for an end.
_ADDRESS = re.compile(
    r"(?P<kind>postgresql|mysql)://(?P<user>[\w.@+-]+)@(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\])(:(?P<port>\d{1,5}))?"
    r"/(?P<name>[\w-]+)",
    re.ASCII,
)
_PASSWORD = re.compile(r"://[^/@]*:[^@]*@|[?&]\w*password=", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where a server is, and what it knows the pipeline as; without a password."""

    kind: Literal["postgresql", "mysql"]
    user: str
    host: str
    port: int
    name: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{self.user}@{host}:{self.port}/{self.name}"


def address_of(text: str) -> Address:
    """Takes an address apart; raises ValueError for what is none, without a word of what it is."""
    if _PASSWORD.search(text):
        raise ValueError(
            "a password stands in it, and settings are kept with what a run makes: give it in the environment, as"
            f" {PASSWORD_VARIABLE}"
        )
    if "?" in text:
        raise ValueError("ML Metadata's clients take no options: lead the connection through a tunnel for TLS")
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or _PORTS[found["kind"]]) if found else 0
    if not found or not 0 < port < 65536:
        raise ValueError("it has to be of the form postgresql://user@host:port/name or mysql://user@host:port/name")
    kind: Literal["postgresql", "mysql"] = "postgresql" if found["kind"] == "postgresql" else "mysql"
    return Address(kind, found["user"], found["host"].strip("[]"), port, found["name"])
