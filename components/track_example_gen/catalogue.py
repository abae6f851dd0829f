"""The files of a catalogue: which there are, what they hold, who says what genre they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import partial

import tensorflow as tf

from components.storage.files import fileio
from components.storage.places import is_remote
from components.track_example_gen.progress import Moments
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.label_table import InvalidLabels, LabelField
from deepmusic_genre.tracks.labels import Labels, read_labels
from deepmusic_genre.tracks.registry import SOURCES, source_for
from deepmusic_genre.tracks.source import endings, read_bounded
from deepmusic_genre.tracks.track import InvalidTrack
from deepmusic_genre.tracks.walk import Listing, list_local, list_remote, only_texts

FILE_ERRORS = (OSError, tf.errors.OpError)
"""What a file that cannot be read or written raises, on a local disk or a remote file system."""

Digest = Callable[[str], bytes]
"""Answers with a hash of a file's content, see :func:`content_digest`."""

_CHUNK_BYTES = 1 << 20


def list_analyses(folder: str) -> Listing:
    """Every file below ``folder`` that a source reads, sorted, so that a run does not depend on the file system.

    Args:
        folder: may be one such file, too, as a dump or an archive.

    Raises:
        PipelineInputError: the folder is not there, or holds no analysis.
    """
    if not is_there(folder, "data folder"):
        raise PipelineInputError(f"The data folder {folder} is not there.")
    if not fileio.isdir(folder):
        if source_for(folder) is None:
            raise PipelineInputError(f"{folder} is not a folder, nor a file that ends in {endings(SOURCES)}.")
        return Listing([folder])
    listing = _list(folder)
    listing.files.sort()
    if not listing.files:
        found = listing.of_other_kinds() or "it is empty"
        unread = f" {listing.rejections[0].path}: {listing.rejections[0].reason}." if listing.rejections else ""
        raise PipelineInputError(
            f"No audio analysis below {folder}: no file ends in {endings(SOURCES)} ({found}).{unread}"
        )
    return listing


def holds_analyses(place: str) -> bool:
    """Whether there is anything in a place that :func:`list_analyses` would list; raises as that does."""
    if not is_there(place, "data folder"):
        return False
    return bool(_list(place).files) if fileio.isdir(place) else source_for(place) is not None


def _list(folder: str) -> Listing:
    if not is_remote(folder):
        return only_texts(list_local(folder))
    try:
        return list_remote(fileio.walk(folder))
    except FILE_ERRORS as error:
        raise PipelineInputError(f"A folder below {folder} cannot be read: {error}.") from error


def load_labels(path: str, columns: Mapping[LabelField, str] | None = None) -> Labels:
    """The labels file's rows by track id; ``columns`` are the names of its columns where they are not the usual ones.

    Raises:
        PipelineInputError: the file is not there or is not a labels file.
    """
    _require_labels(path)
    try:
        with fileio.open(path, "rb") as file:
            return read_labels(read_bounded(file), path, columns)
    except FILE_ERRORS as error:
        raise PipelineInputError(f"The labels file {path} cannot be read: {error}.") from error
    except (InvalidLabels, InvalidTrack) as error:
        raise PipelineInputError(f"Labels: {error}.") from error


class LabelsReader:
    """Reads labels files, each once for as long as the same one is asked for."""

    def __init__(self, columns: Mapping[LabelField, str] | None = None) -> None:
        """Takes the names of the files' columns where they are not the usual ones."""
        self._columns = columns
        self._path: str | None = None
        self._labels: Labels | None = None

    def read(self, path: str | None) -> Labels | None:
        """The rows of a labels file, None for none; raises as :func:`load_labels`."""
        if path != self._path:
            self._labels = load_labels(path, self._columns) if path else None
            self._path = path
        return self._labels


def fingerprint(folder: str, labels: str | None, digest_of: Digest | None = None) -> str:
    """A hash of every analysis's name and content and of the labels file: equal only if nothing changed.

    Args:
        folder: of the analyses.
        labels: the labels file.
        digest_of: what hashes a file's content; None reads them all.

    Raises:
        PipelineInputError: as :func:`list_analyses`, or the labels file is not there.
    """
    if labels:
        _require_labels(labels)
    digest, digest_of = hashlib.blake2b(digest_size=16), digest_of or partial(content_digest, moments=Moments())
    listing = list_analyses(folder)
    for path in [*listing.files, *([labels] if labels else [])]:
        digest.update(os.path.relpath(path, folder).encode() + b"\0" + digest_of(path))
    for item in listing.rejections:
        digest.update(f"\0{item.path}\0{item.reason}".encode())
    return digest.hexdigest()


def _require_labels(path: str) -> None:
    if not is_there(path, "labels file"):
        raise PipelineInputError(f"The labels file {path} is not there.")


def is_there(place: str, what: str) -> bool:
    """Whether a file or a folder is there; raises PipelineInputError, which says what it is, if nobody can tell."""
    try:
        return bool(fileio.exists(place))
    except FILE_ERRORS as error:  # As of a remote file system that is not known or does not answer.
        raise PipelineInputError(f"The {what} {place} cannot be looked for: {error}.") from error


def content_digest(path: str, moments: Moments) -> bytes:
    """A hash of a file's content, the same for all that cannot be read; ``moments`` is told how far it is."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with fileio.open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                moments.show("looking for changes in %s, %.1f GB", os.path.basename(path), file.tell() / 1e9)
    except FILE_ERRORS:
        return unreadable()  # The file is rejected with its reason where it is read.
    return digest.digest()


def unreadable() -> bytes:
    """What :func:`content_digest` answers of a file that cannot be read."""
    return hashlib.blake2b(b"unreadable", digest_size=16).digest()
