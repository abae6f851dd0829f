"""Sound files are analysed on all cores before they are read: reading one by one would take one core alone."""

from __future__ import annotations

from collections.abc import Sequence

from components.track_example_gen.progress import Moments
from sources.audio import AudioFile


def analyse_sound(paths: Sequence[str]) -> None:
    """Analyses those of the files that are sound and lie on this machine, so that reading them finds it done."""
    files = [path for path in paths if path.lower().endswith(AudioFile.suffixes) and "://" not in path]
    if not files:
        return
    from analyser.pool import analyse_ahead

    moments = Moments()
    analyse_ahead(files, lambda done, of: moments.show("%d of %d sound files analysed", done, of))
