"""From files to TFRecords: the work of TrackExampleGen, a shard of files at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import msgspec
import tensorflow as tf

from components.storage.checksums import checksums
from components.storage.files import fileio
from components.storage.json_files import write_json
from components.storage.places import is_remote, move
from components.track_example_gen import outcomes as outcome_files
from components.track_example_gen.artists import Nobody
from components.track_example_gen.catalogue import FILE_ERRORS
from components.track_example_gen.outcomes import TrackOutcome, read_outcomes
from components.track_example_gen.progress import Progress
from components.track_example_gen.repetitions import under_several
from components.track_example_gen.several_genres import SeveralGenres, genre_of
from components.track_example_gen.sound import analyse_sound
from deepmusic_genre.tracks.examples import encode_track
from deepmusic_genre.tracks.labels import GenreNames, Labels, OtherGenre, apply_label, contradictions, label_of
from deepmusic_genre.tracks.registry import sources
from deepmusic_genre.tracks.source import Source, read_file
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track, Unreadable

STAGING = ".part"
"""Ends the name of a shard's folder that is not whole, or not any more."""


@dataclass(frozen=True)
class IngestConfig:
    """What decides how a file becomes an example.

    Attributes:
        genres: the genre list, in the order of the class index.
        other: the genre in it that gathers what labels name outside it, None for none.
        unknown_artists: names that mean that the artist is unknown.
        max_segments: segments kept of a track, None for all.
        several_genres: what becomes of a track under several genres.
        middle: seconds from the middle of each sound file that are analysed, None for all of it.
        pretrained: whether a pretrained network hears each sound file.
        genre_names: further names of genres in the list.
    """

    genres: tuple[str, ...]
    other: str | None
    unknown_artists: tuple[str, ...]
    max_segments: int | None
    several_genres: SeveralGenres
    middle: float | None = None
    pretrained: bool = False
    genre_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def names(self) -> GenreNames:
        """Maps names onto the genre list."""
        return GenreNames(self.genres, self.other, self.genre_names)


@dataclass(frozen=True)
class OfOtherGenre(Rejection):
    """A track whose genre is not in the genre list."""

    genre: str = ""


def read_tracks(
    paths: Iterable[str],
    labels: Labels | None,
    genres: GenreNames,
    middle: float | None = None,
    pretrained: bool = False,
) -> Iterator[Track | Rejection]:
    """Reads files and labels their tracks; a track without a label has an empty genre.

    Yields:
        A track with its final id, or a rejection; each says in ``path`` where it comes from.
    """
    for item in read_files(paths, middle, pretrained):
        yield _labelled(item, labels, genres) if isinstance(item, Track) else item


def read_files(
    paths: Iterable[str], middle: float | None = None, pretrained: bool = False
) -> Iterator[Track | Rejection]:
    """Reads files; a track has the genre that its file names, however it is written there."""
    paths = list(paths)
    analyse_sound(paths, middle, pretrained)
    yield from _read_each(paths, sources(middle, pretrained))


def read_without_sound(paths: Iterable[str]) -> Iterator[Track | Rejection]:
    """Reads files as :func:`read_files`, but of sound files the tags alone: their tracks have no segments."""
    yield from _read_each(paths, sources(tags_only=True))


def _read_each(paths: Iterable[str], among: Sequence[Source]) -> Iterator[Track | Rejection]:
    for path in paths:
        yield from _read_file(path, among)


def _read_file(path: str, among: Sequence[Source]) -> Iterator[Track | Rejection]:
    try:
        # Of a large HDF5 on the local disk only what is needed is read, which TFX's own file cannot.
        with fileio.open(path, "rb") if is_remote(path) else Path(path).open("rb") as stream:
            yield from read_file(path, stream, among)
    except FILE_ERRORS as error:
        yield Unreadable(path, f"cannot be read: {error}")


def _labelled(track: Track, labels: Labels | None, genres: GenreNames) -> Track | Rejection:
    try:
        label = label_of(track, labels, genres)
        return replace(apply_label(track, label, genres), contradictions=contradictions(track, label, genres))
    except OtherGenre as error:
        return OfOtherGenre(track.path, str(error), track.track_id, error.name)
    except InvalidTrack as error:
        return Rejection(track.path, str(error), track.track_id)


def ingest_shard(
    paths: Sequence[str], labels: Labels | None, config: IngestConfig, folder: str, progress: Progress
) -> None:
    """Reads files into a TFRecord file, and writes down a outcome a track and what labelled them.

    Args:
        paths: the shard's files.
        labels: rows by track id; None takes the genre from the folders.
        config: how tracks become examples.
        folder: where the files go; that of the outcomes comes last, when all the others are whole, and a Beam runner
            that tries a bundle again then does nothing.
        progress: told of each track.

    Raises:
        OSError, tf.errors.OpError: something cannot be written.
    """
    if fileio.exists(os.path.join(folder, outcome_files.FILE)):
        return
    staging = staging_of(folder)
    fileio.makedirs(staging)
    writer = _ExampleWriter(os.path.join(staging, outcome_files.EXAMPLES_FILE), config.max_segments)
    genres, nobody, complete = config.names, Nobody(config.unknown_artists), True
    with fileio.open(os.path.join(staging, outcome_files.FILE), "wb") as outcomes:
        for item in read_tracks(paths, labels, genres, config.middle, config.pretrained):
            known = nobody.taken_out(item) if isinstance(item, Track) else item
            outcomes.write(msgspec.json.encode(_outcome(known, writer, config.several_genres)) + b"\n")
            complete = complete and not isinstance(item, Unreadable)
            progress.track_read()
    writer.close()
    if complete:
        with fileio.open(os.path.join(staging, outcome_files.LABELS_FILE), "wb") as file:
            file.write(outcome_files.labels_digest(read_outcomes(staging), labels).encode())
    write_json(os.path.join(staging, outcome_files.CHECKSUMS_FILE), checksums(staging))
    _take_name(staging, folder)


def staging_of(folder: str) -> str:
    """A new name for a shard's folder that is not whole: a runner may try a bundle again while an attempt goes on."""
    return f"{folder}.{uuid4().hex}{STAGING}"


def _take_name(staging: str, folder: str) -> None:
    try:
        move(staging, folder, last=outcome_files.FILE)
    except OSError:
        if not fileio.exists(os.path.join(folder, outcome_files.FILE)):
            raise
        # Another attempt was faster.
        fileio.rmtree(staging)


class _ExampleWriter:
    """Writes a shard's examples."""

    def __init__(self, path: str, max_segments: int | None) -> None:
        self._records = tf.io.TFRecordWriter(path)
        self._max_segments = max_segments
        self._count = 0

    def add(self, track: Track) -> int:
        """Writes a track and returns its place in the file."""
        self._records.write(encode_track(track, self._max_segments))
        self._count += 1
        return self._count - 1

    def close(self) -> None:
        self._records.close()


def _outcome(item: Track | Rejection, writer: _ExampleWriter, several_genres: SeveralGenres) -> TrackOutcome:
    if isinstance(item, OfOtherGenre):
        return TrackOutcome(item.path, item.track_id, item.reason, "other_genre", genre=item.genre)
    if isinstance(item, Rejection):
        return TrackOutcome(item.path, item.track_id, item.reason)
    if not item.genre:
        return TrackOutcome(item.path, item.track_id)
    named = (item.genre, *item.other_genres)
    genres, digest = tuple(dict.fromkeys(named)), item.content_digest()
    genre = genre_of(named, several_genres)
    if not genre:
        return under_several(TrackOutcome(item.path, item.track_id, digest=digest), genres)
    return TrackOutcome(
        item.path,
        item.track_id,
        index=writer.add(replace(item, genre=genre)),
        genre=genre,
        genres=genres,
        artist=item.artist_key,
        digest=digest,
        analyser=item.analyser,
        notes=item.notes,
        contradictions=item.contradictions,
    )
