"""Which versions of a model are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LARGEST = 2**63 - 1
_NUMBER_DIGITS = 19


@dataclass(frozen=True)
class VersionPolicy:
    """The latest few versions, particular ones, or all.

    Attributes:
        latest: how many of the latest, if ``specific`` is None.
        specific: the versions, if given.
    """

    latest: float = 1
    specific: frozenset[int] | None = None


ALL_VERSIONS = VersionPolicy(latest=float("inf"))


def aspired_versions(children: Iterable[str], policy: VersionPolicy) -> dict[int, str]:
    """The wanted versions among the names in a base path, and the name of each.

    Names that are no 64-bit integers are ignored; zeros in front are allowed.
    """
    versions = {int(name): name for name in sorted(children) if _is_version(name)}
    if policy.specific is not None:
        return {version: versions[version] for version in sorted(policy.specific & versions.keys())}
    ordered = sorted(versions, reverse=True)
    wanted = [version for rank, version in enumerate(ordered) if rank < policy.latest]
    return {version: versions[version] for version in sorted(wanted)}


def _is_version(name: str) -> bool:
    digits = name.lstrip("0") or "0"
    return name.isascii() and name.isdigit() and len(digits) <= _NUMBER_DIGITS and int(digits) <= _LARGEST
