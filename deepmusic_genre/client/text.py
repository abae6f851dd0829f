"""Texts that others wrote, made fit for what they are written to."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text for a terminal, which would obey the control characters in it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def encodable(text: str) -> str:
    """A text for UTF-8, which has no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def cell(text: str) -> str:
    """A text for CSV: readers refuse a null, and take a carriage return for the end of the row.

    Python before 3.13 does not quote the latter.
    """
    return encodable(text).replace("\r", " ").replace("\0", " ")
