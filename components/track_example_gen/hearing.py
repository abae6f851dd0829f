"""Whether a pretrained network hears the sound of a catalogue."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from components.storage.files import fileio
from components.track_example_gen.catalogue import FILE_ERRORS
from components.track_example_gen.sound import Pretrained
from deepmusic_genre.tracks.archives import TarArchive, ZipArchive
from deepmusic_genre.tracks.audio import AudioFile
from deepmusic_genre.tracks.registry import SOURCES
from deepmusic_genre.tracks.source import source_among
from deepmusic_genre.tracks.track import Rejection

log = logging.getLogger("deepmusic.TrackExampleGen")

_FIRST = 100
"""Files of an archive whose names are looked at: a whole one would be unpacked once more."""


def hears(setting: Pretrained, files: Iterable[str]) -> bool:
    """Whether sound files are heard by the network: there are some, and its weights are there, or could be fetched.

    Where they cannot be had, a line says so.

    Args:
        setting: ``analyser.pretrained``.
        files: those of the catalogue.
    """
    if setting == "off" or not any(map(_holds_sound, files)):
        return False
    # Only who has sound files needs what decodes them.
    from deepmusic_genre.analyser.ear.weights import NoWeights, network

    try:
        network()
    except NoWeights as error:
        log.warning(
            "sound is analysed without the pretrained network, which cannot be had: %s; analyser.pretrained=off does"
            " not ask for it",
            error,
        )
        return False
    return True


def _holds_sound(path: str) -> bool:
    """Whether a file is sound, or an archive with sound among its first files."""
    if path.lower().endswith(AudioFile.suffixes):
        return True
    archive = source_among(path, (TarArchive([_NAMES]), ZipArchive([_NAMES])))
    if archive is None:
        return False
    try:
        with fileio.open(path, "rb") as stream:
            first = islice(archive.read(path, stream), _FIRST)
            return any(item.path.lower().endswith(AudioFile.suffixes) for item in first)
    except FILE_ERRORS:
        return False  # Whoever reads it says so.


class _Names:
    """Names what an archive holds, and reads nothing of it."""

    name = "names"
    suffixes = tuple(suffix for source in SOURCES for suffix in source.suffixes)

    def read(self, path: str, stream: BinaryIO) -> Iterator[Rejection]:
        del stream
        yield Rejection(path, "")


_NAMES = _Names()
