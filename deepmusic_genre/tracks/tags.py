"""What the tags of a sound file say of its track: ID3, Vorbis comments, APE, MP4, ASF and what else FFmpeg knows.

They are read by mutagen, which knows every value of a field: FFmpeg keeps the first of several genres in ID3, MP4, ASF
and APE alone. What mutagen does not know, as Matroska or the INFO chunk of WAV, comes from FFmpeg.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mutagen
from av.error import FFmpegError
from mutagen.apev2 import APENoHeaderError, APETextValue, APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TCON, ParseID3v1
from mutagen.mp4 import MP4
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggspeex import OggSpeex
from mutagen.oggvorbis import OggVorbis

from deepmusic_genre.analyser.content import beginning
from deepmusic_genre.analyser.decode import container_tags
from deepmusic_genre.tracks.id3 import short_tag

_NAMES = {
    "genre": ("tcon", "genre", "\xa9gen", "wm/genre"),
    "title": ("tit2", "title", "\xa9nam"),
    "artist": ("tpe1", "artist", "\xa9art", "author"),
    "album_artist": ("tpe2", "albumartist", "album artist", "album_artist", "aart", "wm/albumartist"),
    "album": ("talb", "album", "\xa9alb", "wm/albumtitle"),
    "track": ("trck", "tracknumber", "track", "trkn", "wm/tracknumber"),
}
"""What fields are called, in lower case, in any form of tags."""

_FIELDS = {name: field for field, names in _NAMES.items() for name in names}
_ID3_FRAMES = frozenset(
    (b"TCON", b"TIT2", b"TPE1", b"TPE2", b"TALB", b"TRCK", b"TCO", b"TT2", b"TP1", b"TP2", b"TAL", b"TRK")
)
_OWN_TAGS = [FLAC, OggVorbis, OggOpus, OggFLAC, OggSpeex, MP4, ASF]
_MAX_LETTERS = 1000
_ID3V1_BYTES = 128

_Texts = dict[str, list[str]]
"""The values of each field that has any."""


@dataclass(frozen=True)
class Tags:
    """What tags say, empty where they say nothing; no text is longer than 1,000 letters.

    Attributes:
        genres: As they are written, but numbers of ID3's list as its names.
        artist, album_artist, album, title: The first of several.
        track_number: On the album, 0 where unknown.
        fault: Why nothing could be read, empty if something could or there is nothing.
    """

    genres: tuple[str, ...] = ()
    artist: str = ""
    album_artist: str = ""
    album: str = ""
    title: str = ""
    track_number: int = 0
    fault: str = ""


def read_tags(content: bytes) -> Tags:
    """Reads the tags of a sound file.

    Where a file has tags of several forms, a field comes from the first that has it: the file's own form, ID3v2, APE,
    ID3v1, FFmpeg.

    Args:
        content: Of the whole file.
    """
    texts: _Texts = {}
    faults = []
    for reader in (_own, _id3, _ape, _id3v1, _of_ffmpeg):
        if reader is _of_ffmpeg and {"genre", "artist", "title"} <= texts.keys():
            break
        try:
            texts = _texts(reader(content)) | texts
        except Exception as error:
            faults.append(" ".join(str(error).split())[:100] or type(error).__name__)
    first = {field: values[0] for field, values in texts.items()}
    number = re.match(r"\d{1,6}", first.get("track", ""))
    return Tags(
        genres=tuple(TCON(encoding=3, text=texts.get("genre", [])).genres),
        artist=first.get("artist", ""),
        album_artist=first.get("album_artist", ""),
        album=first.get("album", ""),
        title=first.get("title", ""),
        track_number=int(number[0]) if number else 0,
        fault=faults[0] if faults and not texts else "",
    )


def _own(content: bytes) -> Mapping[str, Any]:
    file = mutagen.File(io.BytesIO(beginning(content)), options=_OWN_TAGS)
    tags = None if file is None else file.tags
    # Vorbis comments and ASF's are lists of pairs, too.
    return {} if tags is None else {name: tags[name] for name in tags.keys()}  # noqa: SIM118


def _id3(content: bytes) -> Mapping[str, Any]:
    tag = short_tag(content, _ID3_FRAMES)
    return dict(ID3(io.BytesIO(tag), load_v1=False)) if tag else {}


def _ape(content: bytes) -> Mapping[str, Any]:
    try:
        return dict(APEv2(io.BytesIO(content)))
    except APENoHeaderError:
        return {}


def _id3v1(content: bytes) -> Mapping[str, Any]:
    frames = dict(ParseID3v1(content[-_ID3V1_BYTES:]) or {})
    # Of most files whose genre is the first of the list, nobody has said so: the byte is not written.
    return frames if content[-1:] != b"\0" else {name: frame for name, frame in frames.items() if name != "TCON"}


def _of_ffmpeg(content: bytes) -> Mapping[str, Any]:
    try:
        tags = container_tags(content)
    except FFmpegError:
        return {}  # Nothing of the file can be read, which the analyser says.
    return {name: text for name, text in tags.items() if name != "genre"} if _id3v1(content) else tags


def _texts(tags: Mapping[str, Any]) -> _Texts:
    texts: _Texts = {}
    for name, value in tags.items():
        field = _FIELDS.get(name.lower())
        values = [text for each in _values(value) if (text := _text(each))] if field else []
        if field and values:
            texts.setdefault(field, []).extend(values)
    return texts


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        yield from value.split("\0")
    elif isinstance(value, APETextValue | list):
        yield from value
    elif hasattr(value, "genres"):
        yield from value.genres
    else:
        yield from getattr(value, "text", ())


def _text(value: Any) -> str:
    text = str(value[0] if isinstance(value, tuple) else value)
    whole = text[: 2 * _MAX_LETTERS].encode(errors="replace").decode()
    return " ".join(whole.split())[:_MAX_LETTERS]
