"""JSON lines: an audio analysis a line, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO

from deepmusic_genre.tracks import source
from deepmusic_genre.tracks.audio_analysis import ANALYSIS_NAME, read_records
from deepmusic_genre.tracks.streams import GZIP_ERRORS, text_of, with_compressions
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track

_SKIPPED_BYTES = 1 << 20


class JsonLines:
    """Reads dumps of many analyses.

    A line is what an audio-analysis file would be, with ``track_id``, ``genre``, ``artist_id``, ``artist``, ``title``
    and ``analyser`` beside ``segments`` where they are known. A bad line is rejected with its number, and the rest is
    read.
    """

    name = ANALYSIS_NAME
    suffixes = with_compressions(".jsonl", ".ndjson")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields each line's track, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        number, empty = 0, True
        try:
            for number, line in enumerate(_lines(text_of(stream)), 1):
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
