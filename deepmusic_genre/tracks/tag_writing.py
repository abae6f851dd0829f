"""Sound files with another genre in their tags, and all else as it was.

mutagen writes ID3, Vorbis comments, MP4, APE and ASF. What it cannot write, or would not keep, is refused.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import mutagen
from av.error import FFmpegError
from mutagen.apev2 import APENoHeaderError, APEv2
from mutagen.asf import ASFTags
from mutagen.id3 import ID3, TCON, ID3FileType
from mutagen.mp4 import MP4Tags

from deepmusic_genre.analyser.decode import packets_digest
from deepmusic_genre.tracks.id3 import frame_names, leading_tag
from deepmusic_genre.tracks.tags import read_tags

_ID3_GENRE = "TCON"
_VORBIS_AND_APE = "Genre"
_FIELDS = ((MP4Tags, "\xa9gen"), (ASFTags, "WM/Genre"))
_GENRES = {_ID3_GENRE.lower(), _VORBIS_AND_APE.lower(), *(field.lower() for _, field in _FIELDS)}
_NEW_TAG = 3
"""The version of an ID3v2 tag in a file without one: every player reads it."""


class Unwritable(Exception):
    """A file whose genre cannot be written; the message is the reason shown to the user."""


class _NamedFile(io.BytesIO):
    """A file in memory; mutagen looks at names, too."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def with_genre(content: bytes, name: str, genre: str) -> bytes:
    """A sound file with a genre in its own form of tags.

    An ID3v2 tag keeps its version. An ID3v1 tag stays as it is.

    Args:
        content: Of the whole file.
        name: The file's.
        genre: Takes the place of all genres in the tags.

    Returns:
        The content, with the same encoded sound, and with the same other tags.

    Raises:
        Unwritable: its form has no tags, or none that mutagen writes, or something else would be lost.
    """
    before = read_tags(content)
    if before.fault:
        raise Unwritable(f"its tags cannot be read: {before.fault}")
    try:
        changed = _changed(content, name, genre)
        kept = _says_the_same(content, changed, name)
    except Unwritable:
        raise
    except Exception as error:  # mutagen raises whatever a damaged file makes it stumble over.
        raise Unwritable(
            f"mutagen cannot write its tags: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    if not kept or replace(before, genres=(genre,)) != read_tags(changed):
        raise Unwritable("its other tags would not stay as they are")
    if _sound(content) != _sound(changed):
        raise Unwritable("its sound would not stay as it is")
    return changed


def _changed(content: bytes, name: str, genre: str) -> bytes:
    file = _NamedFile(content, name)
    sound = mutagen.File(file)
    if sound is None:
        raise Unwritable("mutagen writes no tags into files of its form")
    if isinstance(sound, ID3FileType):
        return _with_leading_tag(content, genre)
    if sound.tags is None:
        sound.add_tags()
    file.seek(0)
    if not isinstance(sound.tags, ID3):
        sound.tags[next((key for kind, key in _FIELDS if isinstance(sound.tags, kind)), _VORBIS_AND_APE)] = [genre]
        sound.save(file)
    else:
        # Its frames as they are, not as those of the newest version.
        sound = type(sound)(file, translate=False)
        version = _NEW_TAG if sound.tags is None else _writable(sound.tags.version[1])
        if sound.tags is None:
            sound.add_tags()
        sound.tags.setall(_ID3_GENRE, [_frame(genre)])
        file.seek(0)
        sound.save(file, v2_version=version, v23_sep=None)
    return file.getvalue()


def _with_leading_tag(content: bytes, genre: str) -> bytes:
    """The tag in front is written alone: what follows, ID3v1 among it, has no part in it."""
    head = leading_tag(content)
    rest = content[len(head) :]
    if _has_ape_genre(rest):
        raise Unwritable("its APE tag names a genre, and stands beside ID3")
    version = _writable(head[3]) if head else _NEW_TAG
    file = io.BytesIO(head)
    tag = ID3(file, translate=False, load_v1=False) if head else ID3()
    tag.setall(_ID3_GENRE, [_frame(genre)])
    file.seek(0)
    tag.save(file, v2_version=version, v23_sep=None)
    return file.getvalue() + rest


def _writable(version: int) -> int:
    if version < _NEW_TAG:
        raise Unwritable("its tag is ID3v2.2, which mutagen does not write")
    return version


def _frame(genre: str) -> TCON:
    # ISO 8859-1 or UTF-16, which both versions have.
    return TCON(encoding=0 if genre.isascii() else 1, text=[genre])


def _has_ape_genre(content: bytes) -> bool:
    try:
        return _VORBIS_AND_APE in APEv2(io.BytesIO(content))
    except APENoHeaderError:
        return False


def _says_the_same(content: bytes, changed: bytes, name: str) -> bool:
    """Whether all that the tags of two files say is the same, but for the genre."""
    before, after = (mutagen.File(_NamedFile(each, name)) for each in (content, changed))
    one, other = _values(before), _values(after)
    pictures = ([picture.write() for picture in getattr(sound, "pictures", ())] for sound in (before, after))
    frames = ([frame for frame in frame_names(each) if frame != _ID3_GENRE.encode()] for each in (content, changed))
    return (
        one.keys() == other.keys()
        # Not all of mutagen's values can be compared, and to show a picture takes long.
        and all(value == other[key] or repr(value) == repr(other[key]) for key, value in one.items())
        and len({tuple(each) for each in pictures}) == 1
        and len({tuple(sorted(each)) for each in frames}) == 1
    )


def _values(sound: Any) -> dict[str, Any]:
    if sound is None or sound.tags is None:
        return {}
    return {key: sound.tags[key] for key in sound.tags.keys() if key.lower() not in _GENRES}  # noqa: SIM118


def _sound(content: bytes) -> str | None:
    try:
        return packets_digest(content)
    except FFmpegError:
        return None
