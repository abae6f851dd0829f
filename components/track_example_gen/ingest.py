"""From files to TFRecords: the work of TrackExampleGen, a shard of files at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import tensorflow as tf
from tfx.dsl.io import fileio

from components.track_example_gen.catalogue import READ_ERRORS
from components.track_example_gen.splits import SPLITS, SplitBy, split_of
from sources.examples import encode_track
from sources.labels import GenreNames, Label, apply_label, label_of
from sources.registry import source_for, stem
from sources.track import InvalidTrack, Rejection, Track

_VERDICTS_FILE = "verdicts.jsonl"


@dataclass(frozen=True)
class IngestConfig:
    """What decides how a file becomes an example.

    Attributes:
        genres: the genre list, in the order of the class index.
        split_by: what a split keeps together.
        max_segments: segments kept of a track, None for all.
    """

    genres: tuple[str, ...]
    split_by: SplitBy
    max_segments: int | None


class Verdict(msgspec.Struct, frozen=True):
    """What became of one track: an example in a split, an unlabelled track, or a rejection with its reason.

    Attributes:
        index: for an example, its place in its split's file of the shard.
    """

    path: str
    track_id: str = ""
    reason: str = ""
    split: str = ""
    index: int = -1
    genre: str = ""
    artist: str = ""
    digest: str = ""


class Unreadable(Rejection):
    """A file that could not be opened or read: the next attempt may find it whole."""


def read_tracks(
    paths: Iterable[str], labels: Mapping[str, Label] | None, genres: GenreNames
) -> Iterator[tuple[str, Track | Rejection]]:
    """Reads files and labels their tracks; a track without a label has an empty genre.

    Yields:
        The path, and a track with its final id, or a rejection.
    """
    for path in paths:
        for item in _read_file(path):
            yield path, _labelled(path, item, labels, genres) if isinstance(item, Track) else item


def _read_file(path: str) -> Iterator[Track | Rejection]:
    source = source_for(path)
    if source is None:
        yield Rejection(path, "no source reads files of this name")
        return
    try:
        with fileio.open(path, "rb") as stream:
            yield from source.read(path, stream)
    except READ_ERRORS as error:
        yield Unreadable(path, f"cannot be read: {error}")


def _labelled(path: str, track: Track, labels: Mapping[str, Label] | None, genres: GenreNames) -> Track | Rejection:
    if not track.track_id:
        track = replace(track, track_id=stem(path))
    try:
        return apply_label(track, label_of(path, track.track_id, labels, genres), genres)
    except InvalidTrack as error:
        return Rejection(path, str(error), track.track_id)


def ingest_shard(paths: Sequence[str], labels: Mapping[str, Label] | None, config: IngestConfig, folder: str) -> None:
    """Reads files into one TFRecord file a split, and writes down a verdict a track.

    Args:
        paths: the shard's files.
        labels: rows by track id; None takes the genre from the folders.
        config: how tracks become examples.
        folder: where the files go; it appears only when all of them are whole, and a Beam runner that tries a bundle
            again then does nothing.
    """
    if fileio.exists(folder):
        return
    staging = f"{folder}.part"
    if fileio.exists(staging):
        fileio.rmtree(staging)
    fileio.makedirs(staging)
    writers = {split: _SplitWriter(os.path.join(staging, split), config.max_segments) for split in SPLITS}
    genres = GenreNames(config.genres)
    with fileio.open(os.path.join(staging, _VERDICTS_FILE), "wb") as verdicts:
        for path, item in read_tracks(paths, labels, genres):
            verdicts.write(msgspec.json.encode(_verdict(path, item, writers, config.split_by)) + b"\n")
    for writer in writers.values():
        writer.close()
    fileio.rename(staging, folder)


class _SplitWriter:
    """Writes a split's examples."""

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


def _verdict(path: str, item: Track | Rejection, writers: Mapping[str, _SplitWriter], split_by: SplitBy) -> Verdict:
    if isinstance(item, Rejection):
        return Verdict(path, item.track_id, item.reason)
    if not item.genre:
        return Verdict(path, item.track_id)
    split = split_of(item, split_by)
    return Verdict(
        path,
        item.track_id,
        split=split,
        index=writers[split].add(item),
        genre=item.genre,
        artist=item.artist_key,
        digest=item.content_digest(),
    )


def read_verdicts(folder: str) -> list[Verdict]:
    """The verdicts of a shard, in the order of its tracks."""
    with fileio.open(os.path.join(folder, _VERDICTS_FILE), "rb") as file:
        return [msgspec.json.decode(line, type=Verdict) for line in file.read().splitlines()]


def reject_duplicates(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """Turns every example whose track id came before into a rejection; the first one stays."""
    first: dict[str, Verdict] = {}
    for verdict in verdicts:
        if not verdict.split or first.setdefault(verdict.track_id, verdict) is verdict:
            yield verdict
            continue
        kept = first[verdict.track_id]
        content = "the same content" if kept.digest == verdict.digest else "other content"
        yield Verdict(
            verdict.path, verdict.track_id, f"track id {verdict.track_id} again, with {content} as {kept.path}"
        )


def publish_shard(folder: str, verdicts: Sequence[Verdict], split_uri: Mapping[str, str], name: str) -> None:
    """Moves a shard's split files to where they are published, without the examples that were rejected since.

    Args:
        folder: what :func:`ingest_shard` wrote.
        verdicts: the shard's, after :func:`reject_duplicates`.
        split_uri: each split's folder.
        name: the published files' name.
    """
    written = read_verdicts(folder)
    for split, uri in split_uri.items():
        kept = {verdict.index for verdict in verdicts if verdict.split == split}
        source, target = os.path.join(folder, split), os.path.join(uri, name)
        if len(kept) == sum(verdict.split == split for verdict in written):
            fileio.rename(source, target)
        else:
            _copy_records(source, target, kept)


def _copy_records(source: str, target: str, kept: set[int]) -> None:
    with tf.io.TFRecordWriter(target) as writer:
        for index, record in enumerate(tf.data.TFRecordDataset(source).as_numpy_iterator()):
            if index in kept:
                writer.write(record)
