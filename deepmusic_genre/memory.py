"""Memory that glibc would keep: in a process that does one large thing after another, the peak of one would stay."""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of malloc.h."""

_ARENAS = 2
"""glibc gives each of TensorFlow's threads an arena, up to eight a core, in each of which freed memory stays behind."""


def spare_memory() -> None:
    """Has threads share a few arenas from now on. Does nothing where the C library is another one."""
    if _glibc():
        _glibc().mallopt(_ARENA_MAX, _ARENAS)


def give_memory_back() -> None:
    """Collects garbage, and returns to the system what is free."""
    gc.collect()
    return_what_is_free()


def return_what_is_free() -> None:
    """Does nothing where the C library is another one."""
    if _glibc():
        _glibc().malloc_trim(0)


@cache
def _glibc() -> Any:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
