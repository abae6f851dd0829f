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
        """The track; without an artist if its artist's name or id is nobody's.

        The artist of its album, if that is somebody, is the one who tells its artist from others: guests differ from
        track to track.
        """
        if folded(track.album_artist) not in {"", *self._names}:
            artist_id = track.artist_id or folded(track.album_artist)
            return replace(track, artist_id=artist_id)
        if self._names.isdisjoint((folded(track.artist), folded(track.artist_id))):
            return track
        return replace(track, artist="", artist_id="")
