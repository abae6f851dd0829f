"""How much of this machine a run uses."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

from components.storage.places import is_remote
from pipeline.settings import Settings, load_settings

_GIGABYTE = 1e9
_GROUP = Path("/sys/fs/cgroup")


def side_by_side(settings: Settings) -> int:
    """How many components may run at a time, each in a fork; 0 if none can be forked.

    Forks do not bear what has threads in this process already: clients of stores, and of Beam's engines. On macOS, they
    do not bear its own libraries.
    """
    places = (settings.artifacts, settings.pushed, settings.catalogue.path or "", settings.catalogue.labels or "")
    if sys.platform != "linux" or any(map(is_remote, places)) or settings.beam != load_settings().beam:
        return 0
    return max(1, min(_cores(), int(settings.machine.memory or _free_memory())))


def keep_to_cores(settings: Settings) -> None:
    """Keeps this process, and those that it starts, to the cores that a run may use; Linux alone can."""
    if settings.machine.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.machine.cores])


def _free_memory() -> float:
    """In GB, with what the system would give up for it, and within what a container may have."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    free = int(found[1]) * 1024 if found else 0
    return min(free, _left_of_group(_GROUP)) / _GIGABYTE


def _left_of_group(group: Path) -> float:
    """Bytes that the control group may still take; see Linux' documentation of cgroup v2."""
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return math.inf  # There is no group, or "max" stands there.


def _cores() -> int:
    return len(os.sched_getaffinity(0))
