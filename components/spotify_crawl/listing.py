"""What a playlist holds, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.spotify_crawl.answers import ListedTrack, Page, Playlist, UnusableItem, clean, listed_track
from components.spotify_crawl.api import SpotifyApi, Unavailable
from components.spotify_crawl.store import Listing

_MOST_POSITIONS = 20_000
"""Twice as many as a playlist can have at Spotify."""


def list_playlist(
    api: SpotifyApi, playlist: str, limit: int | None, remembered: Listing | None, show: Callable[[str], object]
) -> Listing:
    """Lists a playlist, unless it is still as it is remembered.

    Args:
        api: where it comes from.
        playlist: its id.
        limit: how many of its first positions are looked at, None for all.
        remembered: how it was listed before, None if it never was.
        show: is told how far it is.

    Raises:
        Unavailable, Unreachable, CrawlStopped: as the API does.
    """
    answer = api.playlist(playlist)
    snapshot = clean(answer.snapshot_id)
    if remembered is not None and remembered.is_still(snapshot, limit):
        return remembered
    items, short = _items(api, playlist, answer, limit, show)
    tracks: dict[str, ListedTrack] = {}
    unusable: list[UnusableItem] = []
    for position, item in enumerate(items):
        found = listed_track(item, position)
        if isinstance(found, ListedTrack):
            tracks.setdefault(found.id, found)
        else:
            unusable.append(found)
    return Listing(playlist, clean(answer.name), snapshot, limit, tuple(tracks.values()), tuple(unusable), short=short)


def _items(
    api: SpotifyApi, playlist: str, answer: Playlist, limit: int | None, show: Callable[[str], object]
) -> tuple[list[Any], str]:
    """A playlist's items, and if they are not all of them why."""
    form, page = answer.form, answer.first_page
    if page is None:
        form, page = _next_page(api, playlist, form, 0)
    items: list[Any] = list(page.items)
    most = min(limit or _MOST_POSITIONS, _MOST_POSITIONS)
    while len(items) < (most if page.total is None else min(most, page.total)):
        if page.next is None or not page.items:
            break
        show(f"{clean(answer.name) or playlist}: {len(items):,} positions")
        before = page
        form, page = _next_page(api, playlist, form, len(items))
        if _repeats(page, before):
            return items, f"listed short: after {len(items):,} positions the same ones come again"
        items += page.items
    if len(items) < min(most, page.total or 0):
        return items, f"listed short: it has {page.total:,} positions, and {len(items):,} of them came"
    if limit is None and len(items) >= _MOST_POSITIONS:
        return items, f"listed short: there are more than {_MOST_POSITIONS:,} positions"
    return items[:limit], ""


def _next_page(api: SpotifyApi, playlist: str, form: str, offset: int) -> tuple[str, Page]:
    try:
        return form, api.playlist_page(playlist, form, offset)
    except Unavailable as refusal:
        # Apps of before 2026 may have one form of the address, and newer ones the other.
        form = "items" if form == "tracks" else "tracks"
        try:
            return form, api.playlist_page(playlist, form, offset)
        except Unavailable as error:
            raise (error if error.words or not refusal.words else refusal) from None


def _repeats(page: Page, before: Page) -> bool:
    """Whether a page is the one before again, and not one of as many items that were taken down."""
    tracks = (listed_track(item, 0) for item in page.items)
    return page.items == before.items and any(isinstance(track, ListedTrack) for track in tracks)
