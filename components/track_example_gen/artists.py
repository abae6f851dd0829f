"""Names of artists that are the name of nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deepmusic_genre.tracks.track import Track, folded


class Nobody:
    """Names that stand where an artist is unknown, compared whatever their case and blanks."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(folded, names)) - {""}

    def taken_out(self, track: Track) -> Track:
        """The track; without an artist if its artist's name or id is nobody's."""
        if self._names.isdisjoint((folded(track.artist), folded(track.artist_id))):
            return track
        return replace(track, artist="", artist_id="")
