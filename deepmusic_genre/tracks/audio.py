"""Sound files: analysed here, by the project's own analyser."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

import msgspec
import numpy as np

from deepmusic_genre.tracks.audio_analysis import read_records
from deepmusic_genre.tracks.track import SEGMENT_FEATURES, InvalidTrack, Rejection, Track, Unreadable

MAX_AUDIO_BYTES = 1 << 30
"""Largest sound file that is read: an hour of two channels, uncompressed, has two thirds of it."""


class AudioFile:
    """Analyses whatever FFmpeg decodes, told by content; genre, artist, title and album are those of the file's tags.

    An analysis is kept by the file's content, see :mod:`deepmusic_genre.analyser.cache`, so that none is made twice.
    Where the packages that decode sound are not installed, every file is a rejection that says so.
    """

    name = "audio"
    suffixes = (
        *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".aifc", ".au", ".snd", ".wma"),
        *(".webm", ".mka", ".mp4", ".m4b", ".ape", ".wv", ".tta", ".tak", ".mpc", ".oga", ".spx", ".mp2", ".w64"),
        *(".caf", ".ac3", ".dts", ".amr", ".3gp", ".dsf", ".voc"),
    )

    def __init__(self, middle: float | None = None, pretrained: bool = False, *, tags_only: bool = False) -> None:
        """Makes a source of sound files.

        Args:
            middle: Seconds from the middle of each that are analysed, None for all of it.
            pretrained: Whether each track has an ear, too.
            tags_only: Whether their sound is left alone; tracks then have no segments.
        """
        self._middle, self._pretrained = middle, pretrained
        self._tags_only = tags_only

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields the file's one track, or its rejection; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            content = stream.read(MAX_AUDIO_BYTES + 1)
            if len(content) > MAX_AUDIO_BYTES:
                raise InvalidTrack(f"larger than {MAX_AUDIO_BYTES >> 30} GiB")
            item = _UNHEARD if self._tags_only else self._heard(path, content)
            yield _tagged(item, path, content) if isinstance(item, Track) else item
        except InvalidTrack as error:
            yield Rejection(path, str(error))
        except _Unprepared as error:
            yield Unreadable(path, str(error))
        except ImportError as error:
            yield Unreadable(
                path, f"to read sound files, install the extra 'audio' of this project: there is no {error.name}"
            )

    def _heard(self, path: str, content: bytes) -> Track | Rejection:
        analysis = self._analysis(content)
        (item,) = read_records(analysis, path)
        if isinstance(item, Rejection):
            return item
        own = msgspec.json.decode(analysis, type=_OfSound)
        return replace(item, notes=own.notes, ear=np.array(own.ear, np.float32) if self._pretrained else None)

    def _analysis(self, content: bytes) -> bytes:
        # Only who has sound files needs what decodes them.
        from deepmusic_genre.analyser.cache import cached_analysis
        from deepmusic_genre.analyser.decode import InvalidAudio
        from deepmusic_genre.analyser.ear.weights import NoWeights

        try:
            return cached_analysis(content, self._middle, self._pretrained)
        except InvalidAudio as error:
            raise InvalidTrack(str(error)) from error
        except NoWeights as error:
            raise _Unprepared(f"the pretrained network that it is asked of cannot be had: {error}") from error


_UNHEARD = Track("", "", 0, np.zeros((0, len(SEGMENT_FEATURES)), np.float32), "")


class _Unprepared(Exception):
    """What the machine lacks to analyse sound, whatever file it is."""


class _OfSound(msgspec.Struct):
    """What an analysis of ours has beside that of Spotify."""

    notes: tuple[str, ...] = ()
    ear: list[float] = []


def _tagged(track: Track, path: str, content: bytes) -> Track:
    # Only who has sound files needs what reads their tags.
    from deepmusic_genre.tracks.tags import read_tags

    tags = read_tags(content)
    genre, *others = tags.genres or ("",)
    return replace(
        track,
        source=AudioFile.name,
        track_id=sound_id(path, content),
        genre=genre,
        other_genres=tuple(others),
        artist=tags.artist or tags.album_artist,
        album_artist=tags.album_artist,
        album=tags.album,
        title=tags.title,
        track_number=tags.track_number,
        notes=(*track.notes, *([f"unreadable tags: {tags.fault}"] if tags.fault else [])),
    )


def sound_id(path: str, content: bytes) -> str:
    """The id of a sound file's track: its name, and a hash of its content.

    The hash tells it from another album's ``01 - Intro.mp3``, and from itself after a change.
    """
    return f"{PurePosixPath(path).stem}-{hashlib.blake2b(content, digest_size=4).hexdigest()}"
