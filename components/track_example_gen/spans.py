"""The spans of a catalogue: parts that come one after the other, numbered in their path as TFX has it, ``{SPAN}``."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.storage.files import fileio
from components.track_example_gen.catalogue import FILE_ERRORS, fingerprint, holds_analyses, is_there, list_analyses
from components.track_example_gen.span_pattern import SPAN, with_span
from deepmusic_genre.errors import PipelineInputError


@dataclass(frozen=True)
class Span:
    """A part of a catalogue.

    Attributes:
        number: 0 for a catalogue that has no spans.
        data: its folder, or its one file.
        labels: its labels file.
    """

    number: int
    data: str
    labels: str | None


def find_spans(data: str, labels: str | None, newest: int | None) -> list[Span]:
    """The spans that there are, the oldest first.

    Args:
        data: where they are. A path without ``{SPAN}`` is one span.
        labels: a labels file for all, or with ``{SPAN}`` one for each.
        newest: how many to take, None for all. An empty folder is not counted: nothing has come there yet.

    Raises:
        PipelineInputError: there is none, or what stands in the place of ``{SPAN}`` does not tell them apart.
    """
    if not SPAN.search(data):
        return [Span(0, data, labels)]
    found: dict[int, Span] = {}
    for written, place in _called_like(data):
        number = int(written)
        if number in found:
            raise PipelineInputError(f"{found[number].data} and {place} are both span {number} of data.path = {data}.")
        found[number] = Span(number, place, labels and with_span(labels, written))
    if not found:
        raise PipelineInputError(f"There is no span: nothing with an analysis in it is called like data.path = {data}.")
    return [found[number] for number in sorted(found)[-newest if newest else None :]]


def files_of(spans: Iterable[Span]) -> Iterator[str]:
    """The files of spans.

    Raises:
        PipelineInputError: a span cannot be listed.
    """
    return (file for span in spans for file in list_analyses(span.data).files)


def fingerprint_of(spans: list[Span]) -> str:
    """A hash of the numbers and contents of spans: equal only if nothing changed.

    Raises:
        PipelineInputError: see :func:`components.track_example_gen.catalogue.fingerprint`.
    """
    digest = hashlib.blake2b(digest_size=16)
    for span in spans:
        digest.update(f"{span.number} {fingerprint(span.data, span.labels)}\n".encode())
    return digest.hexdigest()


def _called_like(pattern: str) -> Iterator[tuple[str, str]]:
    """The places that hold an analysis and are called like the pattern, with the number of each as it is written."""
    parts = pattern.split("/")
    place = next(number for number, part in enumerate(parts) if SPAN.search(part))
    parent, below = "/".join(parts[:place]), parts[place + 1 :]
    before, _, after = SPAN.sub("\0", parts[place]).partition("\0")
    name = re.compile(f"{re.escape(before)}(?P<span>[^.].*){re.escape(after)}")
    for child in _children(parent or "/"):
        named = name.fullmatch(child)
        path = "/".join([parent, child, *below])
        if not (named and holds_analyses(path)):
            continue
        if not (named["span"].isascii() and named["span"].isdigit()):
            raise PipelineInputError(
                f"{path} is called like data.path = {pattern}, but {named['span']!r}, which stands for {{SPAN}}, is no"
                " number. Rename it or put it elsewhere."
            )
        yield named["span"], path


def _children(folder: str) -> list[str]:
    if not is_there(folder, "folder of the spans"):
        raise PipelineInputError(f"The folder of the spans, {folder}, is not there.")
    try:
        # Of a remote folder, some file systems list the names with a slash behind.
        return sorted(os.fspath(name).rstrip("/") for name in fileio.listdir(folder))
    except FILE_ERRORS as error:
        raise PipelineInputError(f"The folder of the spans, {folder}, cannot be read: {error}.") from error
