"""Which versions of a model are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from components.pusher.folder import versions


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
    known = versions(children)
    if policy.specific is not None:
        return {version: name for version, name in known.items() if version in policy.specific}
    ordered = sorted(known, reverse=True)
    wanted = [version for rank, version in enumerate(ordered) if rank < policy.latest]
    return {version: known[version] for version in sorted(wanted)}
