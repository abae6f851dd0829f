"""How a crawl ended."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from components.spotify_crawl.request import CrawlRequest

Kind = Literal["playlist", "item", "track", "artist batch"]


class PassedOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a crawl could not have.

    Attributes:
        kind: what it is; an item is what a playlist holds beside tracks.
        id: its id; an item's position in its playlist, from 0.
        reason: why.
        playlist: an item's playlist.
        gone: Spotify does not know it, so that it is not asked for again before the crawl is complete.
    """

    kind: Kind
    id: str
    reason: str
    playlist: str = ""
    gone: bool = False


class CrawlReport(msgspec.Struct, frozen=True):
    """How a crawl ended.

    Attributes:
        request: what was asked for.
        version: of the code that crawled.
        started: when, in UTC; ``seconds`` later it ended.
        stopped: why it ended before everything was answered, empty if it did not.
        interrupted: whether the user stopped it.
        requests: made to Spotify in this run, without those for tokens.
        fetched: tracks that this run stored.
        stored: tracks of the playlists that are in the store.
        tracks: the same by genre; a track of several counts in each.
        left: tracks that were not asked for yet, or in vain.
        artists: known by their genres.
        passed_over: what could not be had.
    """

    request: CrawlRequest
    version: str
    started: str
    seconds: float
    stopped: str
    interrupted: bool
    requests: int
    fetched: int
    stored: int
    tracks: dict[str, int]
    left: int
    artists: int
    passed_over: tuple[PassedOver, ...]

    @property
    def complete(self) -> bool:
        """Whether everything was answered, be it with a refusal."""
        return not self.stopped

    def __str__(self) -> str:
        by_genre = ", ".join(f"{genre} {count:,}" for genre, count in self.tracks.items())
        kinds = Counter(item.kind for item in self.passed_over)
        missing = ", ".join(f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
        return (
            f"{self.stored:,} tracks stored ({by_genre}), {self.fetched:,} of them new, in {self.requests:,} requests;"
            f" passed over: {missing or 'nothing'}"
        )
