"""What the bytes of a file are: sound with tags around it, how much of it there should be, or no sound at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

# An ID3v2 tag's header; or ``APETAGEX``, version 1 or 2, the size without the header, the number of items, and flags,
# which stands in front of an APE tag, behind it, or both: https://wiki.hydrogenaud.io/index.php?title=APEv2_specification
_TAG = re.compile(
    rb"(?P<id3>ID3[\x02-\x04][\x00-\x0f][\x00\x10\x20\x40\x60\x80\xa0\xc0\xe0][\x00-\x7f]{4})"
    rb"|APETAGEX(?:\xe8\x03|\xd0\x07)\0\0(?P<size>.{4}).{4}...(?P<flags>.)\0{8}",
    re.DOTALL,
)
_ID3_HEADER = 10
_APE_HEADER = 32
_APE_IS_HEADER = 0x20
_PADDING = 64
# The first frame of an MP3 of which an encoder has noted the number of frames; behind the mark a flag says so.
_XING = re.compile(
    rb"\xff[\xe2-\xff]..(?:.{9}|.{17}|.{32})(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})", re.DOTALL
)
_XING_BYTES = 2048
_OGG_LAST_PAGE = 0x04
# What is written where the size is not known yet is more than any file that is read may have.
_MAX_SIZE = 1 << 30
_SNIFFED = 4096
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_OGG_FIRST_PAGE = 0x02
_OGG_HEADER = 27

_NO_SOUND = (
    (
        rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body)",
        "a web page: the download failed. Fetch it again",
    ),
    (
        rb"\s*(?:#EXTM3U|\[playlist\]|<asx|<\?xml[^>]*>\s*<(?:playlist|asx))",
        "a playlist: bring the files that it names",
    ),
    (rb"\s*(?:<\?xml|<)", "XML or HTML: no sound is in it"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0\0\0\0|RIFF.{4}WEBP", "an image: remove it from the sound files"),
    (rb"%PDF", "a PDF document: remove it from the sound files"),
    (rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ", "a compressed archive: unpack it"),
    (rb"MThd", "MIDI: it holds notes, no sound. Render it to a sound file"),
    (rb"\s*[\[{]", "JSON or other text: if it is an analysis, its name has to end in .json"),
)


def beginning(content: bytes) -> bytes:
    """A file's bytes without zeros or an APE tag in front of the sound, and without a tag where its form has none."""
    if content.startswith(bytes(_PADDING)):
        content = content.lstrip(b"\0")
    while (tag := _TAG.match(content)) and not tag["id3"]:
        content = content[_span(tag)[1] :]
    behind = _behind_id3(content)
    return content[behind:] if behind and content.startswith((b"RIFF", b"OggS", b"FORM"), behind) else content


def form_behind_id3(content: bytes) -> str | None:
    """FFmpeg's name of the form of what follows an ID3 tag, which may be too long for FFmpeg to look behind it."""
    behind = _behind_id3(content)
    if behind and content.startswith(b"fLaC", behind):
        return "flac"
    # ADTS: 12 bits of synchronisation, and layer 0, which no MP3 has.
    head = content[behind : behind + 2]
    return "aac" if behind and len(head) == 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else None


def without_inner_tags(content: bytes) -> bytes:
    """A stream of frames, as of an MP3, without the tags between and behind its frames; that in front stays."""
    kept, end = [], 0
    for start, stop in _inner_tags(content):
        kept.append(content[end:start])
        end = max(end, stop)
    return b"".join([*kept, content[end:]]) if kept else content


def _inner_tags(content: bytes) -> Iterator[tuple[int, int]]:
    place = _behind_id3(content)
    while tag := _TAG.search(content, place):
        start, stop = _span(tag)
        place = tag.end()
        if start >= 0 and stop <= len(content):
            yield start, stop
            place = stop


def _span(tag: re.Match[bytes]) -> tuple[int, int]:
    """Where a tag begins and ends that has this header or footer."""
    if tag["id3"]:
        return tag.start(), tag.start() + _id3_bytes(tag["id3"])
    size = int.from_bytes(tag["size"], "little")
    if tag["flags"][0] & _APE_IS_HEADER:
        return tag.start(), max(tag.start() + _APE_HEADER + size, tag.end())
    return tag.end() - max(size, _APE_HEADER), tag.end()


def _behind_id3(content: bytes) -> int:
    place = 0
    while (tag := _TAG.match(content, place)) and tag["id3"]:
        place = _span(tag)[1]
    return place


def _id3_bytes(header: bytes) -> int:
    size = 0
    for seven_bits in header[6:]:
        size = size << 7 | seven_bits
    return _ID3_HEADER + size


def recordings(content: bytes) -> list[bytes]:
    """The recordings of which a file is joined, as FFmpeg reads no further than the first, or the others by its header.

    What consists of frames, as an MP3, is one: its frames say what they are.
    """
    starts = [0, *_joins(content), len(content)]
    return [content[start:end] for start, end in pairwise(starts)] if len(starts) > 2 else [content]


def _joins(content: bytes) -> Iterator[int]:
    if content.startswith(b"fLaC"):
        yield from (found.start() for found in _FLAC.finditer(content, 1))
    elif content.startswith(b"OggS"):
        yield from _ogg_joins(content)
    elif content.startswith(b"RIFF"):
        end = noted_bytes(content)
        while end and content.startswith(b"RIFF", end):
            yield end
            end += int.from_bytes(content[end + 4 : end + 8], "little") + 8


def _ogg_joins(content: bytes) -> Iterator[int]:
    place, before = 0, _OGG_FIRST_PAGE
    while content.startswith(b"OggS", place) and place + _OGG_HEADER <= len(content):
        first = content[place + 5] & _OGG_FIRST_PAGE
        if first and not before:
            yield place
        before = first
        segments = content[place + _OGG_HEADER - 1]
        place += _OGG_HEADER + segments + sum(content[place + _OGG_HEADER : place + _OGG_HEADER + segments])


def noted_frames(content: bytes, first_frame: int) -> int:
    """How many frames an MP3 says that it has, 0 where it does not say.

    Args:
        content: the file.
        first_frame: where the first frame with sound begins; what an encoder has noted is in the one before.
    """
    noted = _XING.search(content, max(first_frame - _XING_BYTES, 0), first_frame)
    return int.from_bytes(noted[1], "big") if noted else 0


def noted_bytes(content: bytes) -> int:
    """How many bytes a RIFF file (WAV, AVI), RF64, Wave64 or ASF (WMA) says that it has, 0 where it does not say."""
    if content.startswith(b"RIFF"):
        size = int.from_bytes(content[4:8], "little") + 8
    elif content.startswith(b"RF64"):
        size = int.from_bytes(content[20:28], "little") + 8
    elif content.startswith(b"riff"):
        size = int.from_bytes(content[16:24], "little")
    elif content.startswith(_ASF):
        properties = content.find(_ASF_FILE_PROPERTIES, 0, _SNIFFED)
        size = int.from_bytes(content[properties + 40 : properties + 48], "little") if properties > 0 else 0
    else:
        return 0
    return size if size <= _MAX_SIZE else 0


def lacks_last_page(content: bytes) -> bool:
    """Whether an Ogg file ends before the page that is marked as its last."""
    page = content.rfind(b"OggS")
    return page >= 0 and not any(flags & _OGG_LAST_PAGE for flags in content[page + 5 : page + 6])


def no_sound(content: bytes) -> str | None:
    """What a file is that is no sound, and what to do about it; None if nobody can tell."""
    head = content[:_SNIFFED]
    for pattern, what in _NO_SOUND:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return what
    if not content.strip(b"\0"):
        return "nothing but zeros: fetch it again"
    if content[4:8] == b"ftyp" and b"moov" not in content:
        return "cut short: an MP4 file without its index, so that nothing of it can be decoded. Fetch it again"
    if head.isascii() and all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head):
        return "text, no sound: remove it from the sound files"
    return None
