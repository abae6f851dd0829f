"""Reading JSON as TF Serving does, and writing it the same way.

Its dialect is RapidJSON's with ``NaN``, ``Infinity`` and ``-Infinity``; what follows the first value is ignored. Three
readers share the work: orjson for standard JSON, the standard library for its NaN, and one written here for all the
rest, such as nesting thousands deep, bytes that are not UTF-8, and the words and places of errors.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from serving.server.errors import ServingError, invalid

ENCODING_ERRORS = "surrogateescape"
"""How bytes that are not UTF-8 go through text and come out again unchanged."""

MAX_SHOWN = 256
"""Bytes of a client's JSON that an error message repeats."""

MAX_VALUES = 16_000_000
"""Values a document may hold, so that the tree in memory stays below some 1 GB."""

_BOM = b"\xef\xbb\xbf"
# Where the standard library's reader differs: numbers that need care, and escapes that may be half a character.
_CAREFUL = re.compile(r"\\u|[eE]\+?\d{3}|\d{19}|Inf(?!inity)|-NaN")
_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(rb"-?(?:Infinity|Inf|NaN)")
_ESCAPES = {
    0x22: b'"',
    0x5C: b"\\",
    0x2F: b"/",
    0x62: b"\b",
    0x66: b"\f",
    0x6E: b"\n",
    0x72: b"\r",
    0x74: b"\t",
}
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_WORDS = ((b"null", None), (b"true", True), (b"false", False))
_SMALLEST_INT, _LARGEST_INT = -(2**63), 2**64 - 1
_INT_DIGITS = 20
_VALUES_BETWEEN_CLOCKS = 1 << 14


def _first_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


_STANDARD = json.JSONDecoder(object_pairs_hook=_first_of_each)


def parse(body: bytes, deadline: float = math.inf) -> dict[str, Any]:
    """Reads a document, which must be an object.

    Strings come out as text with bytes that are not UTF-8 as surrogates. An integer beyond 64 bits is a float. Of a key
    that comes twice the last value counts, except for documents that orjson cannot read, where the first does.

    Args:
        body: the document.
        deadline: when to give up, on the clock of :func:`time.monotonic`.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` with RapidJSON's words, or ``DEADLINE_EXCEEDED``.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    # Every value is a byte at least.
    if len(body) > MAX_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ServingError("RESOURCE_EXHAUSTED", f"JSON documents of more than {MAX_VALUES} values are not read")
    value = _parse(body, deadline)
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} Is not object")
    return value


def _parse(body: bytes, deadline: float) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    if body.startswith(_BOM):
        body = body[len(_BOM) :]
    text = body.decode("utf-8", ENCODING_ERRORS)
    if not _CAREFUL.search(text):
        try:
            start = len(text) - len(text.lstrip(" \t\n\r"))
            return _STANDARD.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            pass
    return _Reader(body, deadline).read()


class _Reader:
    """A reader without recursion: how deep a document goes costs memory in proportion to its size and no more."""

    def __init__(self, body: bytes, deadline: float) -> None:
        self._body = body
        self._at = 0
        self._deadline = deadline

    def read(self) -> Any:
        self._skip_space()
        if self._at == len(self._body):
            raise self._error("The document is empty.")
        open_values: list[Any] = []
        keys: list[str] = []
        values = 0
        while True:
            values += 1
            if values % _VALUES_BETWEEN_CLOCKS == 0 and time.monotonic() > self._deadline:
                raise ServingError("DEADLINE_EXCEEDED", "Timed out reading JSON")
            value = self._value()
            if isinstance(value, dict | list) and not self._closes(b"]" if isinstance(value, list) else b"}"):
                open_values.append(value)
                if isinstance(value, dict):
                    keys.append(self._key())
                continue
            while open_values and self._ends(open_values[-1], keys, value):
                value = open_values.pop()
            if not open_values:
                return value

    def _ends(self, container: Any, keys: list[str], value: Any) -> bool:
        """Puts a value into the innermost open container; whether this was its last one."""
        if isinstance(container, list):
            container.append(value)
            if self._closes(b","):
                return False
            if not self._closes(b"]"):
                raise self._error("Missing a comma or ] after an array element.")
            return True
        container.setdefault(keys.pop(), value)
        if self._closes(b","):
            keys.append(self._key())
            return False
        if not self._closes(b"}"):
            raise self._error("Missing a comma or } after an object member.")
        return True

    def _error(self, words: str, at: int | None = None) -> ServingError:
        return invalid(f"JSON Parse error: {words} at offset: {self._at if at is None else at}")

    def _skip_space(self) -> None:
        match = _SPACE.match(self._body, self._at)
        self._at = match.end() if match else self._at

    def _closes(self, mark: bytes) -> bool:
        self._skip_space()
        if self._body[self._at : self._at + 1] != mark:
            return False
        self._at += 1
        return True

    def _key(self) -> str:
        self._skip_space()
        if self._body[self._at : self._at + 1] != b'"':
            raise self._error("Missing a name for object member.")
        key = self._string()
        if not self._closes(b":"):
            raise self._error("Missing a colon after a name of object member.")
        return key

    def _value(self) -> Any:
        self._skip_space()
        first = self._body[self._at : self._at + 1]
        if first in (b"[", b"{"):
            self._at += 1
            return [] if first == b"[" else {}
        if first == b'"':
            return self._string()
        for word, value in _WORDS:
            if self._body.startswith(word, self._at):
                self._at += len(word)
                return value
        return self._number()

    def _number(self) -> int | float:
        special = _SPECIAL.match(self._body, self._at)
        if special:
            self._at = special.end()
            return float(special.group())
        match = _NUMBER.match(self._body, self._at)
        if not match:
            raise self._error("Invalid value.")
        whole, fraction, exponent = match.groups()
        start, self._at = self._at, match.end()
        following = self._body[self._at : self._at + 1]
        if following == b"." and not fraction and not exponent:
            raise self._error("Miss fraction part in number.", self._at + 1)
        if following in (b"e", b"E") and not exponent:
            raise self._error("Miss exponent in number.", self._at + 1)
        if not fraction and not exponent and len(whole) <= _INT_DIGITS:
            number = int(whole)
            if _SMALLEST_INT <= number <= _LARGEST_INT:
                return number
        value = float(match.group())
        if math.isinf(value):
            raise self._error("Number too big to be stored in double.", start)
        return value

    def _string(self) -> str:
        start = self._at
        self._at += 1
        parts = []
        while True:
            match = _PLAIN.match(self._body, self._at)
            if match:
                parts.append(match.group())
                self._at = match.end()
            mark = self._body[self._at : self._at + 1]
            if mark == b'"':
                self._at += 1
                return b"".join(parts).decode("utf-8", ENCODING_ERRORS)
            if mark == b"\\":
                parts.append(self._escape())
            elif mark == b"":
                raise self._error("Missing a closing quotation mark in string.", start)
            else:
                raise self._error("Invalid encoding in string.")

    def _escape(self) -> bytes:
        start = self._at
        following = self._body[start + 1 : start + 2]
        if following == b"u":
            return self._unicode_escape(start)
        if not following or following[0] not in _ESCAPES:
            raise self._error("Invalid escape character in string.", start)
        self._at += 2
        return _ESCAPES[following[0]]

    def _unicode_escape(self, start: int) -> bytes:
        unit = self._hex(start)
        if 0xD800 <= unit < 0xE000:
            if unit >= 0xDC00 or self._body[self._at : self._at + 2] != b"\\u":
                raise self._error("The surrogate pair in string is invalid.", start)
            low = self._hex(start)
            if not 0xDC00 <= low < 0xE000:
                raise self._error("The surrogate pair in string is invalid.", start)
            unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        return chr(unit).encode()

    def _hex(self, start: int) -> int:
        match = _HEX.match(self._body, self._at + 2)
        if not match:
            raise self._error("Incorrect hex digit after \\u escape in string.", start)
        self._at = match.end()
        return int(match.group(), 16)


class Literal(str):
    """JSON text that is written as it stands: a number."""

    __slots__ = ()


class OneLine(list[Any]):
    """An array whose elements are written without line breaks between them, and those of arrays within it."""

    __slots__ = ()


class BrokenAtEnd(OneLine):
    """The same, but with a line break before the closing bracket: a peculiarity of TF Serving's answers."""

    __slots__ = ()


def pretty(value: Any) -> str:
    """JSON as RapidJSON's pretty writer lays it out, indented by four spaces.

    Args:
        value: of dictionaries, lists, :class:`OneLine` lists, text, integers, floats (as double), booleans and None.
    """
    return "".join(_pretty(value, 0, single_line=False))


def shown(value: Any) -> str:
    """A client's value in an error message, cut off after ``MAX_SHOWN`` bytes."""
    parts: list[bytes] = []
    size = 0
    for part in _pretty(value, 0, single_line=False):
        parts.append(part.encode("utf-8", ENCODING_ERRORS))
        size += len(parts[-1])
        if size > MAX_SHOWN:
            return b"".join(parts)[:MAX_SHOWN].decode("utf-8", "ignore") + "..."
    return b"".join(parts).decode("utf-8", ENCODING_ERRORS)


def _pretty(value: Any, depth: int, single_line: bool) -> Iterator[str]:
    if isinstance(value, list):
        yield from _pretty_list(value, depth, single_line)
    elif isinstance(value, dict):
        yield "{"
        separator = ""
        for key, member in value.items():
            yield f"{separator}\n{'    ' * (depth + 1)}{quoted(key)}: "
            yield from _pretty(member, depth + 1, single_line)
            separator = ","
        yield f"\n{'    ' * depth}}}" if value else "}"
    elif isinstance(value, Literal):
        yield value
    elif isinstance(value, str):
        yield quoted(value)
    elif isinstance(value, float):
        yield decimals(np.array([value]))[0]
    elif value is None:
        yield "null"
    elif isinstance(value, bool):
        yield "true" if value else "false"
    else:
        yield str(value)


def _pretty_list(values: list[Any], depth: int, single_line: bool) -> Iterator[str]:
    single_line = single_line or isinstance(values, OneLine)
    yield "["
    separator = ""
    for value in values:
        yield separator if single_line else f"{separator.strip()}\n{'    ' * (depth + 1)}"
        yield from _pretty(value, depth + 1, single_line)
        separator = ", "
    if values and (not single_line or isinstance(values, BrokenAtEnd)):
        yield f"\n{'    ' * depth}"
    yield "]"


_QUOTED = {
    **{chr(code): f"\\u{code:04X}" for code in range(0x20)},
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_TO_QUOTE = re.compile(r'[\x00-\x1f"\\]')


def quoted(text: str) -> str:
    """Text as a JSON string; what is not ASCII stays as it is."""
    return f'"{_TO_QUOTE.sub(lambda match: _QUOTED[match.group()], text)}"'


def decimals(values: np.ndarray[Any, np.dtype[Any]]) -> list[Literal]:
    """Numbers as text: six digits if they suffice to read the same number again, else all that matter.

    Args:
        values: float32 or float64, of any shape.

    Returns:
        One a value, in row-major order, such as ``0.2``, ``3.0``, ``1e-05``, ``NaN``.
    """
    flat = values.ravel()
    short = ["%.6g" % value for value in flat.tolist()]  # noqa: UP031 (twice as fast)
    with np.errstate(over="ignore"):
        same = np.array(short, np.float64).astype(flat.dtype) == flat
    digits = 9 if flat.dtype == np.float32 else 17
    texts = []
    for value, text, exact in zip(flat.tolist(), short, same.tolist(), strict=True):
        if not math.isfinite(value):
            texts.append(Literal("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"))
        else:
            long = text if exact else f"{value:.{digits}g}"
            texts.append(Literal(long if "." in long or "e" in long else long + ".0"))
    return texts
