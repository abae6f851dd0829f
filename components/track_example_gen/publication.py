"""From shards to the examples of a run, which share their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import tensorflow as tf

from components.storage.checksums import checksums
from components.storage.files import fileio
from components.storage.json_files import read_json, write_json
from components.storage.links import link
from components.storage.places import move
from components.track_example_gen import outcomes as outcome_files
from components.track_example_gen.ingest import staging_of
from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.store import discard

Cut = dict[str, list[int]]
"""The numbers of a shard's examples by split; those in none are left out."""


def publish_shard(folder: str, outcomes: Sequence[TrackOutcome], split_uri: Mapping[str, str], name: str) -> None:
    """Publishes a shard's examples in their splits, without those that were left out since.

    The shard is cut into a file for each split, unless it already is, and the published files are links to them: the
    examples are on the disk once.

    Args:
        folder: what :func:`components.track_example_gen.ingest.ingest_shard` wrote.
        outcomes: the shard's, with splits.
        split_uri: each split's folder.
        name: the published files' name.

    Raises:
        OSError, tf.errors.OpError: something cannot be read or written.
    """
    cut: Cut = {split: [each.index for each in outcomes if each.split == split] for split in SPLITS}
    if _cut_of(folder) != cut:
        _cut_anew(folder, cut)
    for split, uri in split_uri.items():
        link(os.path.join(folder, _file_of(split)), os.path.join(uri, name))


def _file_of(split: str) -> str:
    return f"{outcome_files.EXAMPLES_FILE}-{split}" if split else outcome_files.EXAMPLES_FILE


def _cut_of(folder: str) -> Cut:
    path = os.path.join(folder, outcome_files.CUT_FILE)
    return read_json(path, Cut) if fileio.exists(path) else {}


def _cut_anew(folder: str, cut: Cut) -> None:
    """Writes a shard with its examples in other files; one that is stopped leaves it whole, or to be read again."""
    staging = staging_of(folder)
    fileio.makedirs(staging)
    split_of = _split_of(cut)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(tf.io.TFRecordWriter(os.path.join(staging, _file_of(split))))
            for split in (*SPLITS, "")
        }
        for number, record in enumerate(_records(folder)):
            writers[split_of.get(number, "")].write(record)
    for name in (outcome_files.FILE, outcome_files.LABELS_FILE):
        if fileio.exists(os.path.join(folder, name)):
            link(os.path.join(folder, name), os.path.join(staging, name))
    write_json(os.path.join(staging, outcome_files.CUT_FILE), cut)
    write_json(os.path.join(staging, outcome_files.CHECKSUMS_FILE), checksums(staging))
    discard(folder)
    move(staging, folder, last=outcome_files.FILE)


def _records(folder: str) -> Iterator[bytes]:
    """A shard's examples in order, from the files that it is cut into."""
    cut = _cut_of(folder)
    split_of = _split_of(cut)
    paths = {split: os.path.join(folder, _file_of(split)) for split in (*cut, "")}
    files = {split: tf.data.TFRecordDataset(path).as_numpy_iterator() for split, path in paths.items()}
    number = 0
    while (record := next(files[split_of.get(number, "")], None)) is not None:
        yield record
        number += 1


def _split_of(cut: Cut) -> dict[int, str]:
    return {number: split for split, numbers in cut.items() for number in numbers}
