"""The paths of the REST interface."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from serving.server.errors import invalid

_POST = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_GET = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE | re.ASCII
)
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_LARGEST_VERSION = 2**63 - 1
_NUMBER_DIGITS = 19


@dataclass(frozen=True)
class ModelPath:
    """What a path names.

    Attributes:
        model: the model's name, percent-decoded; empty if the path has none.
        version: its version, if given.
        label: its version's label, if given; never together with ``version``.
        method: ``predict``, ``classify`` or ``regress`` of a POST, ``metadata`` of a GET, as the client wrote it.
    """

    model: str
    version: int | None = None
    label: str | None = None
    method: str = ""


def is_api(path: str) -> bool:
    """Whether a raw path belongs to the REST interface at all."""
    return _API.fullmatch(path) is not None


def parse_path(http_method: str, path: str) -> ModelPath:
    """Reads a raw path, without its query.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` for whatever is not a path of the interface.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(http_method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise malformed(http_method, path)
    model, version, label, method = match.groups()
    return ModelPath(
        model=_decoded(model or ""),
        version=_version_number(version) if version else None,
        label=_decoded(label) if label else None,
        method=method or "",
    )


def malformed(http_method: str, path: str) -> Exception:
    """The error for a path that nothing answers to."""
    return invalid(f"Malformed request: {http_method} {path}")


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _version_number(digits: str) -> int:
    # Python refuses to read thousands of digits.
    significant = digits.lstrip("0") or "0"
    if len(significant) > _NUMBER_DIGITS or int(significant) > _LARGEST_VERSION:
        raise invalid(f"Failed to convert version: {digits} to numeric.")
    return int(significant)
