"""Sound files are analysed on all cores before they are read: reading one by one would take one core alone."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from components.storage.places import is_remote
from components.track_example_gen.progress import Moments
from deepmusic_genre.tracks.audio import MAX_AUDIO_BYTES, AudioFile

Pretrained = Literal["auto", "off"]
"""Whether sound files are heard by the pretrained network, too: where it can be had, or never."""


def analyse_sound(paths: Sequence[str], middle: float | None, pretrained: bool = False) -> None:
    """Analyses those of the files that are sound and lie on this machine, so that reading them finds it done."""
    sounds = (path for path in paths if path.lower().endswith(AudioFile.suffixes) and not is_remote(path))
    files = [path for path in sounds if _is_taken(path)]
    if not files:
        return
    from deepmusic_genre.analyser.pool import analyse_ahead

    moments = Moments()
    analyse_ahead(files, lambda done, of: moments.show("%d of %d sound files analysed", done, of), middle, pretrained)


def _is_taken(path: str) -> bool:
    """Whether a file is there, and no larger than what is read: the pool has it in memory to know it by its content.

    A pipe would keep whoever opens it waiting.
    """
    try:
        found = Path(path).stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= MAX_AUDIO_BYTES
