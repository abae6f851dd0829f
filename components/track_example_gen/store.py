"""What was read once: shards of examples that later runs take over, named by what they were made from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass

from components.storage.checksums import damage
from components.storage.files import fileio
from components.storage.json_files import read_json
from components.track_example_gen import outcomes as outcome_files
from components.track_example_gen.catalogue import Digest, list_analyses
from components.track_example_gen.chunks import cut
from components.track_example_gen.ingest import STAGING, IngestConfig, staging_of
from components.track_example_gen.outcomes import CHECKSUMS_FILE, LABELS_FILE, labels_digest, read_outcomes
from components.track_example_gen.spans import Span
from deepmusic_genre.tracks.labels import Labels
from deepmusic_genre.tracks.registry import may_hold_sound

log = logging.getLogger("deepmusic.TrackExampleGen")


@dataclass(frozen=True)
class Shard:
    """Files that are read together; never those of two spans.

    Attributes:
        key: a hash of the files' paths and contents, and of what decides how they become examples.
        paths: the files.
        labels: the labels file.
    """

    key: str
    paths: tuple[str, ...]
    labels: str | None


def plan_shards(spans: Iterable[Span], config: IngestConfig, code_version: str, digest_of: Digest) -> list[Shard]:
    """Cuts spans into shards.

    Args:
        spans: in their order.
        config: how tracks become examples.
        code_version: changes when the code that reads tracks does.
        digest_of: what hashes a file's content.

    Raises:
        PipelineInputError: a span cannot be listed.
    """
    made_by = json.dumps([code_version, dataclasses.asdict(config)]).encode()

    def shard(span: Span, paths: tuple[str, ...]) -> Shard:
        digest = hashlib.blake2b(made_by, digest_size=16)
        if any(map(may_hold_sound, paths)):
            digest.update(_analyser_name())
        for path in paths:
            digest.update(b"\0" + path.encode() + b"\0" + digest_of(path))
        return Shard(digest.hexdigest(), paths, span.labels)

    return [shard(span, paths) for span in spans for paths in cut(span.data, list_analyses(span.data).files)]


def _analyser_name() -> bytes:
    # What decodes sound takes a while to import.
    from deepmusic_genre.analyser.analysis import analyser_name

    return analyser_name().encode()


class ShardStore:
    """A folder with a folder a shard, as :func:`components.track_example_gen.ingest.ingest_shard` writes it."""

    def __init__(self, folder: str) -> None:
        """Opens the store, or makes it, and removes what interrupted ingestions left in it.

        Raises:
            OSError, tf.errors.OpError: the folder cannot be made, or something not be removed.
        """
        fileio.makedirs(folder)
        for left in shard_folders(folder):
            if left.endswith(STAGING):
                discard(left)
        self._folder = folder

    def folder_of(self, shard: Shard) -> str:
        """Where a shard is, or will be."""
        return os.path.join(self._folder, shard.key)

    def has(self, shard: Shard, labels: Labels | None) -> bool:
        """Whether a shard is there, undamaged, with nothing left to read and under the labels that its tracks have now.

        A labels file grows with every track that is added to it; so what counts is not the file but what it says of the
        shard's own tracks. A shard of which that is not so is removed.
        """
        folder = self.folder_of(shard)
        if not fileio.exists(folder):
            return False
        if _is_complete(folder) and not _is_damaged(folder) and _is_labelled_by(folder, labels):
            return True
        discard(folder)
        return False


def _is_complete(folder: str) -> bool:
    return all(fileio.exists(os.path.join(folder, name)) for name in (CHECKSUMS_FILE, LABELS_FILE))


def _is_damaged(folder: str) -> bool:
    expected = read_json(os.path.join(folder, CHECKSUMS_FILE), dict[str, str])
    found = damage(folder, expected, alone=False)
    if found:
        log.info("%s is damaged, %s; its files are read again", folder, found)
    return found is not None


def _is_labelled_by(folder: str, labels: Labels | None) -> bool:
    with fileio.open(os.path.join(folder, LABELS_FILE), "rb") as file:
        return bool(file.read().decode() == labels_digest(read_outcomes(folder), labels))


def shard_folders(store: str) -> list[str]:
    """The folders of all shards in a store, those that are not whole as well."""
    # Of a remote folder, some file systems list the names with a slash behind.
    names = sorted(name for name in fileio.listdir(store) if not name.startswith("."))
    return [os.path.join(store, name.rstrip("/")) for name in names]


def read_at(folder: str) -> float:
    """When a shard was written, in seconds since 1970; 0 for one that is not whole."""
    outcomes = os.path.join(folder, outcome_files.FILE)
    whole = not folder.endswith(STAGING) and fileio.exists(outcomes)
    return float(fileio.stat(outcomes).mtime_nsec / 1e9) if whole else 0.0


def discard(folder: str) -> None:
    """Removes a shard; one that is removed by half is not taken for a whole one."""
    if not folder.endswith(STAGING):
        half = staging_of(folder)
        fileio.rename(folder, half)
        folder = half
    fileio.rmtree(folder)
