"""How a crawl ended."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Literal

import msgspec

from components.spotify_crawl.request import CrawlRequest
from components.spotify_crawl.waits import spoken_time

_REASONS = 10

Kind = Literal["playlist", "item", "track", "listing", "artist batch"]
"""The last one stands in older stores only."""


class PassedOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a crawl could not have.

    Attributes:
        kind: what it is; an item is what a playlist holds beside tracks, a listing one that came in part.
        id: its id; an item's position in its playlist, from 0.
        reason: why.
        playlist: an item's playlist.
        gone: it is not asked for again before the crawl is complete.
        again: when it is asked for again at the earliest, None if that was an answer.
        times: in how many crawls it was not answered.
    """

    kind: Kind
    id: str
    reason: str
    playlist: str = ""
    gone: bool = False
    again: datetime | None = None
    times: int = 0


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
        passed_over: what could not be had.
        unlisted: playlists of which it is not known what they hold.
        come_back: when the crawl can be resumed at the earliest, None if that is not known or not needed.
        final: whether resuming it later on does not help either.
        audio_features: tracks that are stored with them.
        no_audio_features: why others are stored without, empty if nothing went wrong.
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
    passed_over: tuple[PassedOver, ...]
    unlisted: int = 0
    come_back: datetime | None = None
    final: bool = False
    audio_features: int = 0
    no_audio_features: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything was answered, be it with a refusal."""
        return not self.stopped

    def __str__(self) -> str:
        by_genre = ", ".join(f"{genre} {count:,}" for genre, count in self.tracks.items())
        kinds = Counter(item.kind for item in self.passed_over)
        missing = ", ".join(_counted(count, kind) for kind, count in kinds.items())
        return (
            f"{_counted(self.stored, 'track')} stored ({by_genre}), {self.fetched:,} of them new, in"
            f" {_counted(self.requests, 'request')}; passed over: {missing or 'nothing'}; audio features of"
            f" {_counted(self.audio_features, 'track')}"
            f"{self.no_audio_features and f' (they are optional: {self.no_audio_features})'}"
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why what could not be had is missing, the most frequent reason first."""
        # What an item is called stands after its reason.
        counts = Counter(
            (item.kind, item.reason.partition(":")[0] if item.kind == "item" else item.reason)
            for item in self.passed_over
        )
        most = [f"{_counted(count, kind)}: {reason}" for (kind, reason), count in counts.most_common(_REASONS)]
        more = len(counts) - len(most)
        return (*most, *([f"and for {_counted(more, 'more reason')}"] if more else []))

    @property
    def rest(self) -> str:
        """What is left, and when to come back for it."""
        left = [_counted(self.left, "track")] if self.left or not self.unlisted else []
        left += [f"what is in {_counted(self.unlisted, 'unlisted playlist')}"] if self.unlisted else []
        text = f"Left: {' and '.join(left)}."
        if self.final:
            return text
        when = f" after {spoken_time(self.come_back)}" if self.come_back else ""
        return f"{text} Run the same command{when} to resume."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
