"""What Spotify answers, as far as a crawl reads it, in the forms before and after 2026."""

from __future__ import annotations

from typing import Any

import msgspec

from components.spotify_crawl.request import is_id


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artist or an album."""

    id: str | None = None
    name: str | None = None


class Page(msgspec.Struct, frozen=True):
    """A part of a playlist's items. Each is read by itself: one that is odd spoils no other."""

    items: tuple[Any, ...]
    next: str | None = None
    total: int | None = None


class _MaybePage(msgspec.Struct, frozen=True):
    items: tuple[Any, ...] | None = None
    next: str | None = None
    total: int | None = None


class ManyAudioFeatures(msgspec.Struct, frozen=True):
    """Audio features of several tracks, each read by itself; null for a track that has none."""

    audio_features: tuple[Any, ...]


class Playlist(msgspec.Struct, frozen=True):
    """A playlist, with its first page where Spotify shows it: as ``items``, before 2026 as ``tracks``."""

    snapshot_id: str | None = None
    name: str | None = None
    items: _MaybePage | None = None
    tracks: _MaybePage | None = None

    @property
    def form(self) -> str:
        """What Spotify calls the items."""
        return "tracks" if self.items is None and self.tracks is not None else "items"

    @property
    def first_page(self) -> Page | None:
        """The first page; None where Spotify does not show it, as it may be for other people's playlists."""
        page = self.items or self.tracks
        return None if page is None or page.items is None else Page(page.items, page.next, page.total)


class _Track(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None
    type: str | None = None
    is_local: bool | None = None
    artists: tuple[Named, ...] | None = None
    album: Named | None = None
    duration_ms: float | None = None
    linked_from: Named | None = None


class _Entry(msgspec.Struct, frozen=True):
    item: _Track | None = None
    track: _Track | None = None
    is_local: bool | None = None


class ListedTrack(msgspec.Struct, frozen=True, omit_defaults=True):
    """A track of a playlist.

    Attributes:
        id: the id that the playlist holds, even where Spotify plays another recording in its place.
        artists: the first is the main one.
        played_as: the id of that other recording, if there is one.
    """

    id: str
    title: str
    artists: tuple[Named, ...] = ()
    album: Named | None = None
    duration_ms: float | None = None
    played_as: str | None = None


class UnusableItem(msgspec.Struct, frozen=True):
    """An item of a playlist that has no audio analysis, and why."""

    position: int
    reason: str


def listed_track(item: Any, position: int) -> ListedTrack | UnusableItem:
    """Reads an item of a playlist.

    Args:
        item: as Spotify answers it, with its track as ``item`` or, before 2026, as ``track``.
        position: its place in the playlist, from 0.
    """
    try:
        entry = msgspec.convert(item, _Entry)
    except msgspec.ValidationError as error:
        return UnusableItem(position, f"not in a known form: {error}")
    track = entry.item or entry.track
    if track is None:
        return UnusableItem(position, "no track: it was taken down, or is not shown")
    title = clean(track.name)
    if entry.is_local or track.is_local:
        return UnusableItem(position, f"a local file of the playlist's owner: {title!r}")
    if track.type not in ("track", None):
        return UnusableItem(position, f"no track, but of type {clean(track.type)}: {title!r}")
    played_as = None
    if track.linked_from is not None and track.linked_from.id not in (None, track.id):
        played_as, track = track.id, msgspec.structs.replace(track, id=track.linked_from.id)
    if track.id is None or not is_id(track.id):
        return UnusableItem(position, f"its id is none: {title!r}")
    album = _cleaned(track.album) if track.album else None
    artists = tuple(map(_cleaned, track.artists or ()))
    return ListedTrack(track.id, title, artists, album, track.duration_ms, played_as)


def clean(text: str | None) -> str:
    """A name on one line, without what a CSV, a terminal or UTF-8 cannot hold."""
    spaced = " ".join((text or "").split())
    return "".join(character for character in spaced if character.isprintable())


def _cleaned(named: Named) -> Named:
    return Named(named.id if is_id(named.id) else None, clean(named.name))
