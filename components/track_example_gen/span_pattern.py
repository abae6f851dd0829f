"""``{SPAN}`` in a path, as TFX writes it; can be had without importing TFX."""

from __future__ import annotations

import re

SPAN = re.compile(r"\{SPAN(?::(?P<digits>\d+))?\}")
"""``{SPAN}``, or with a number of digits ``{SPAN:4}``."""


def with_span(pattern: str, written: str) -> str:
    """The path of one span.

    Args:
        pattern: with ``{SPAN}`` in it or without.
        written: the number as another path has it; where the pattern names a number of digits, it is made so long.
    """
    number = written.lstrip("0")
    return SPAN.sub(lambda found: number.zfill(int(found["digits"])) if found["digits"] else written, pattern)
