"""TF Serving's BatchingParameters, in protobuf's text form: the published protos lack them."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

from serving.server.batching import BatchSettings

_COMMENT = re.compile(r"#[^\n]*")
_ROWS, _BATCHES, _THREADS = "max_batch_size", "max_enqueued_batches", "num_batch_threads"
_ALLOWED = "allowed_batch_sizes"
_NUMBERS = (_ROWS, _BATCHES, _THREADS, "batch_timeout_micros")
_OTHERS = ("thread_pool_name", "pad_variable_length_inputs", "enable_large_batch_splitting")
# A value by itself, wrapped in a message, or several in brackets.
_FIELD = re.compile(
    r"""\s* (\w+) \s* (?: :\s*([\w."-]+) | :?\s*\{\s*value\s*:\s*([\w."-]+)\s*\} | :\s*\[([\w\s,]*)\] ) \s*[,;]?""",
    re.VERBOSE,
)


def read_batching_parameters(text: str) -> BatchSettings:
    """The settings that have a meaning for a server that never waits for requests and pads whatever it must.

    Raises:
        ValueError: it is not what TF Serving takes; the message says why.
    """
    found = _fields(_COMMENT.sub("", text).strip())
    numbers = {name: _number(name, found[name][-1]) for name in _NUMBERS if name in found}
    allowed = [_number(_ALLOWED, value) for value in found[_ALLOWED]]
    defaults = BatchSettings()
    rows = numbers.get(_ROWS, defaults.max_rows)
    if allowed and (allowed[-1] != rows or any(one >= other for one, other in pairwise(allowed))):
        raise ValueError(f"{_ALLOWED} must increase and end with {_ROWS}")
    return BatchSettings(
        max_rows=rows,
        max_queued=rows * numbers[_BATCHES] if _BATCHES in numbers else defaults.max_queued,
        threads=numbers.get(_THREADS, defaults.threads),
    )


def _fields(text: str) -> defaultdict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if not match:
            raise ValueError(f"it cannot be read from {text[at:].split(maxsplit=1)[0]!r} on")
        name, plain, wrapped, several = match.groups()
        if name not in (*_NUMBERS, *_OTHERS, _ALLOWED):
            raise ValueError(f"it has no field {name}")
        found[name] += several.replace(",", " ").split() if several is not None else [plain or wrapped]
        at = match.end()
    return found


def _number(name: str, text: str) -> int:
    least = 0 if name == "batch_timeout_micros" else 1
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError(f"{name} is {text}, not a number from {least}")
    return int(text)
