"""The store: a folder of the user's that holds what was crawled, over any number of runs.

::

    store.json            the version of this layout
    analyses/4u/4uLU….json.gz   an audio analysis with its track's metadata
    labels.csv            a row a track, genre and playlist
    audio_features.jsonl  tracks' audio features, which their analysis is stored with
    playlists/37i9….json  what a playlist held when it was last listed
    passed_over.jsonl     what the crawl that is going on could not have
    pause.json            until when Spotify asked not to be asked
    report.json           how the last crawl ended

Every file is written whole or not at all: first in ``partial``, then renamed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from components.spotify_crawl.answers import ListedTrack, UnusableItem
from components.spotify_crawl.journal import DamagedFile, Journal, decode
from components.spotify_crawl.report import CrawlReport, PassedOver
from components.spotify_crawl.request import LABELS_FILE
from components.storage.locks import Locked, exclusive
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.crawled_store import ANALYSES_FOLDER, VERSION_FILE
from deepmusic_genre.tracks.streams import GZIP_ERRORS
from deepmusic_genre.tracks.track import Rejection

VERSION = 1
REPORT_FILE = "report.json"
LABEL_COLUMNS = ("track_id", "genre", "artist_id", "artist", "title", "playlist")

_ENDING = ".json.gz"
_PARTIAL = "partial"
_LOCK = "lock"
_PAUSE_FILE = "pause.json"


class NotAnAnalysis(ValueError):
    """What should be stored could not be read again; the message says why."""


class Listing(msgspec.Struct, frozen=True):
    """What a playlist holds.

    Attributes:
        snapshot_id: changes whenever the playlist does.
        max_tracks: how many of its first positions were looked at, None for all.
        tracks: those that may have an analysis, each once, in order.
        unusable: the other items.
        short: why this is not all that it holds, empty if it is.
    """

    id: str
    name: str
    snapshot_id: str
    max_tracks: int | None
    tracks: tuple[ListedTrack, ...]
    unusable: tuple[UnusableItem, ...]
    short: str = ""

    def is_still(self, snapshot_id: str, max_tracks: int | None) -> bool:
        """Whether this is what would be listed again."""
        return bool(snapshot_id) and not self.short and (self.snapshot_id, self.max_tracks) == (snapshot_id, max_tracks)


class _AudioFeatures(msgspec.Struct, frozen=True):
    """A track's audio features by name; none where Spotify has none of it."""

    id: str
    features: dict[str, float]


class _Pause(msgspec.Struct):
    until: datetime


class _Version(msgspec.Struct, forbid_unknown_fields=True):
    version: int


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Opens the store in a folder, or makes one, for one crawl at a time.

    Raises:
        PipelineInputError: another crawl is going on, the folder holds something else or a store of another version, or
            it cannot be written, now or later on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / _LOCK):
            _require_store(folder)
            shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
            (folder / _PARTIAL).mkdir(exist_ok=True)
            yield Store(folder)
    except Locked as error:
        raise PipelineInputError(f"Another crawl writes to {folder}. Wait for it to end.") from error
    except OSError as error:
        raise PipelineInputError(
            f"The store {folder} cannot be used: {error.strerror or error}. What is in it stays, and is gone on from."
        ) from error
    except DamagedFile as error:
        raise PipelineInputError(f"The store's {error}. Remove it, or set spotify.store to another folder.") from error


def finished_crawl(folder: Path) -> CrawlReport | None:
    """How the last crawl ended, None if there is none or it is not known."""
    try:
        return msgspec.json.decode((folder / REPORT_FILE).read_bytes(), type=CrawlReport)
    except (OSError, msgspec.DecodeError):
        return None


def _require_store(folder: Path) -> None:
    file = folder / VERSION_FILE
    if not file.exists():
        if set(os.listdir(folder)) - {_LOCK, _PARTIAL}:
            raise PipelineInputError(f"{folder} is not empty, and is no store. Set spotify.store to another folder.")
        (folder / _PARTIAL).mkdir(exist_ok=True)
        _write(folder, file, msgspec.json.encode(_Version(VERSION)))
    version = decode(file, file.read_bytes(), _Version).version
    if version != VERSION:
        raise PipelineInputError(
            f"The store {folder} is of version {version}, and this program reads version {VERSION} alone. Set"
            " spotify.store to another folder, or use the program that made it."
        )


class Store:
    """What was crawled. Made by :func:`open_store`; every method that writes raises OSError if it cannot.

    Attributes:
        folder: where it is.
        passed_over: what the crawl that is going on could not have.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed_over = Journal(folder / "passed_over.jsonl", PassedOver)
        self._features = Journal(folder / "audio_features.jsonl", _AudioFeatures)
        self._features_of = {item.id: item.features for item in self._features.records}
        files = (folder / ANALYSES_FOLDER).glob(f"*/*{_ENDING}")
        self._tracks = {file.name.removesuffix(_ENDING) for file in files}

    def __contains__(self, track: str) -> bool:
        return track in self._tracks

    def __len__(self) -> int:
        return len(self._tracks)

    def add(self, track: str, analysis: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Stores a track's analysis.

        Raises:
            NotAnAnalysis: the pipeline could not read it.
        """
        features = self.audio_features(track)
        beside = {"audio_features": features} if features else {}
        content = _json({**analysis, "track_id": track, **beside, "crawl": metadata})
        path = self._analysis_file(track)
        for item in AudioAnalysisJson().read(str(path), io.BytesIO(content)):
            if isinstance(item, Rejection):
                raise NotAnAnalysis(item.reason)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(self.folder, path, gzip.compress(content, mtime=0))
        self._tracks.add(track)

    def audio_features(self, track: str) -> dict[str, float] | None:
        """A track's audio features, none of them where Spotify has none; None where it was not asked."""
        return self._features_of.get(track)

    def add_audio_features(self, features: Mapping[str, dict[str, float]]) -> None:
        """Keeps tracks' audio features for their analyses, also for those that are stored already."""
        for track, found in features.items():
            if found and track in self:
                self._put_beside(track, found)
        self._features.add(*(_AudioFeatures(track, found) for track, found in features.items()))
        self._features_of.update(features)

    def _put_beside(self, track: str, features: dict[str, float]) -> None:
        path = self._analysis_file(track)
        try:
            stored = json.loads(gzip.decompress(path.read_bytes()))
        except (*GZIP_ERRORS, ValueError) as error:
            raise DamagedFile(f"{path} is damaged, or not its own: {error}") from error
        _write(self.folder, path, gzip.compress(_json({**stored, "audio_features": features}), mtime=0))

    def listing(self, playlist: str) -> Listing | None:
        """What a playlist held when it was last listed, None if it never was."""
        file = self._listing_file(playlist)
        return decode(file, file.read_bytes(), Listing) if file.exists() else None

    def remember(self, listing: Listing) -> None:
        """Keeps what a playlist holds."""
        file = self._listing_file(listing.id)
        file.parent.mkdir(exist_ok=True)
        _write(self.folder, file, msgspec.json.encode(listing))

    def any_of(self, tracks: Iterable[str]) -> str | None:
        """One of these tracks that is stored, None if none is."""
        return next((track for track in tracks if track in self._tracks), None)

    @property
    def pause(self) -> datetime | None:
        """Until when Spotify asked not to be asked, None if it never did."""
        file = self.folder / _PAUSE_FILE
        return decode(file, file.read_bytes(), _Pause).until if file.exists() else None

    def keep_pause(self, until: datetime) -> None:
        """Keeps until when Spotify asked not to be asked, for this crawl and the next ones."""
        _write(self.folder, self.folder / _PAUSE_FILE, msgspec.json.encode(_Pause(until)))

    def write_labels(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Writes the labels file, with :data:`LABEL_COLUMNS`."""
        text = io.StringIO(newline="")
        csv.writer(text).writerows([LABEL_COLUMNS, *rows])
        _write(self.folder, self.folder / LABELS_FILE, text.getvalue().encode())

    def write_report(self, report: CrawlReport) -> None:
        """Keeps how a crawl ended."""
        _write(self.folder, self.folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(report)))

    def _analysis_file(self, track: str) -> Path:
        return self.folder / ANALYSES_FOLDER / track[:2] / f"{track}{_ENDING}"

    def _listing_file(self, playlist: str) -> Path:
        return self.folder / "playlists" / f"{playlist}.json"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _write(folder: Path, path: Path, content: bytes) -> None:
    partial = folder / _PARTIAL / path.name
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    # The name, too, has to be on the disk.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
