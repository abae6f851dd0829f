"""How an input from several steps is named, which Kubeflow has no word for."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

_SEPARATOR = "__"


def part_of(key: str, number: int) -> str:
    """The name of one part of an input."""
    return f"{key}{_SEPARATOR}{number}"


def join_parts(artifacts: MutableMapping[str, Any]) -> None:
    """Puts inputs together again whose parts :func:`part_of` named.

    Args:
        artifacts: by key, an ``ArtifactList`` each, in the form of JSON.
    """
    for key in sorted(filter(_is_part, artifacts), key=_place):
        name, _ = _place(key)
        artifacts.setdefault(name, {"artifacts": []})["artifacts"].extend(artifacts.pop(key).get("artifacts", []))


def _is_part(key: str) -> bool:
    return _place(key)[1] >= 0


def _place(key: str) -> tuple[str, int]:
    name, separator, number = key.rpartition(_SEPARATOR)
    return (name, int(number)) if separator and number.isdigit() else (key, -1)
