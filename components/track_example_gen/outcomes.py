"""What became of each track, noted while the files are read and decided when all have been."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Literal

import msgspec

from components.storage.files import fileio
from deepmusic_genre.tracks.labels import Labels, find_label

FILE = "outcomes.jsonl"

LABELS_FILE = "labels"
"""Beside the outcomes of a shard: the digest of its labels; not there if a file of the shard could not be read."""

EXAMPLES_FILE = "examples"
"""Beside the outcomes of a shard: its examples, in order."""

CHECKSUMS_FILE = "checksums.json"
"""Beside the outcomes of a shard: the checksums of its other files."""

LeftOut = Literal["rejected", "other_genre", "repeated", "several_genres"]
"""Why a track is no example: at fault, outside the genre list, there once more, or under several genres of which none
counts."""


class TrackOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one track: an example in a split, an unlabelled track, or one left out with its reason.

    Attributes:
        reason: why it is left out; empty for an example and for a track without a genre.
        left_out: what kind of reason that is.
        split: for an example, once the whole catalogue has been read.
        index: for an example, its place in the file of the shard.
        genre: the one that counts, or of a track that is left out for it, the one outside the genre list.
        genres: all that it is under, each once; more than one if that had to be decided.
    """

    path: str
    track_id: str = ""
    reason: str = ""
    left_out: LeftOut = "rejected"
    split: str = ""
    index: int = -1
    genre: str = ""
    genres: tuple[str, ...] = ()
    artist: str = ""
    digest: str = ""
    analyser: str = ""
    notes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def read_outcomes(folder: str) -> list[TrackOutcome]:
    """The outcomes of a shard, in the order of its tracks."""
    with fileio.open(os.path.join(folder, FILE), "rb") as file:
        return msgspec.json.Decoder(TrackOutcome).decode_lines(file.read())


def labels_digest(outcomes: Iterable[TrackOutcome], labels: Labels | None) -> str:
    """A hash of what a labels file says of tracks; without one, of that there is none."""
    if labels is None:
        return "no labels"
    digest = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        digest.update(f"{find_label(labels, outcome.track_id, outcome.path)}\n".encode())
    return digest.hexdigest()
