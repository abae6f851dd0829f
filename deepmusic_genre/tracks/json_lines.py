"""JSON lines: an audio analysis a line, plain or compressed."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import BinaryIO

from deepmusic_genre.tracks import source
from deepmusic_genre.tracks.audio_analysis import ANALYSIS_NAME, read_array, read_objects, read_records
from deepmusic_genre.tracks.streams import GZIP_ERRORS, first_letter, text_of, with_compressions
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track

_SKIPPED_BYTES = 1 << 20


class JsonLines:
    """Reads dumps of many analyses.

    A line is what an audio-analysis file would be, with ``track_id``, ``genre``, ``artist_id``, ``artist``, ``title``
    and ``analyser`` beside ``segments`` where they are known. A bad line is rejected with its number, and the rest is
    read. Objects over several lines each, as ``jq`` writes them, are read one after another.
    """

    name = ANALYSIS_NAME
    suffixes = with_compressions(".jsonl", ".ndjson")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each line's track, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            content = text_of(stream)
            yield from _reader(content)(path, content)
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except GZIP_ERRORS as error:
            yield Rejection(path, f"truncated or damaged gzip: {error}")


def _reader(content: BufferedReader) -> Callable[[str, BufferedReader], Iterator[Track | Rejection]]:
    """What reads a text: by lines, unless an array or an object begins that does not end in its own line."""
    begun = content.peek().removeprefix(codecs.BOM_UTF8).lstrip()
    line, ended, _ = begun.partition(b"\n")
    if not ended or line.rstrip() not in (b"[", b"{"):
        return _read_lines
    return read_array if first_letter(content) == b"[" else read_objects


def _read_lines(path: str, content: BufferedReader) -> Iterator[Track | Rejection]:
    number, empty = 0, True
    try:
        for number, line in enumerate(_lines(content), 1):
            if not line.isspace():
                empty = False
                yield from read_records(line, f"{path}:{number}")
    except InvalidTrack as error:
        yield Rejection(path, f"{error}, after line {number:,}")
    except GZIP_ERRORS as error:
        yield Rejection(path, f"truncated or damaged gzip after line {number:,}: {error}")
    else:
        if empty:
            yield Rejection(path, "it holds no analysis")


def _lines(stream: BufferedReader) -> Iterator[bytes]:
    """Lines, and of one that is too long so much that it is seen to be."""
    while line := stream.readline(source.MAX_ANALYSIS_BYTES + 1):
        rest = line
        while len(line) > source.MAX_ANALYSIS_BYTES and rest and not rest.endswith(b"\n"):
            rest = stream.readline(_SKIPPED_BYTES)
        yield line
