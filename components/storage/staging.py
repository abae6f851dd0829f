"""Copies on this machine of what is in stores that neither TensorFlow nor Beam knows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from components.storage import s3
from components.storage.checksums import damage
from components.storage.places import STAGED, is_staged


class Damaged(OSError):
    """What is in a store is not what was put there."""


@dataclass(frozen=True)
class Staging:
    """Where stores are on this machine.

    Attributes:
        folders: what begins the local paths instead of a store's URIs, by what begins those; the rest is the same.
    """

    folders: Mapping[str, str]

    def local(self, place: str) -> str:
        """Where the copy of a place is, or the place itself if it is in none of the stores."""
        return _replaced(place, self.folders)

    def remote(self, place: str) -> str:
        """What :meth:`local` was given."""
        return _replaced(place, {folder: scheme for scheme, folder in self.folders.items()})


class Copies(Staging):
    """Copies that are made where they are asked for, and are there until they are cleared."""

    def __init__(self, folder: str | Path) -> None:
        """Keeps them below a folder."""
        super().__init__({scheme: f"{folder}/{scheme.partition(':')[0]}/" for scheme in STAGED})
        self._folder = Path(folder)

    def fetch(self, uri: str, checksums: Mapping[str, str]) -> str:
        """Copies a folder here, whole or not at all, if it is not here yet.

        Args:
            uri: the folder's.
            checksums: of its files; those that are not among them are not compared.

        Returns:
            The copy; the folder itself if it is in no such store.

        Raises:
            Damaged: it is not what it was.
            OSError: it cannot be read.
        """
        if not is_staged(uri):
            return uri
        folder = Path(self.local(uri))
        if folder.exists():
            return str(folder)
        part = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
        try:
            part.mkdir(parents=True)
            s3.download(uri, str(part))
            if fault := damage(str(part), checksums, alone=False):
                raise Damaged(f"{uri} is damaged, {fault}; the next run makes it again")
            _take_name(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return str(folder)

    def publish(self, folder: str) -> None:
        """Copies a folder from here to its store.

        Of one that comes there by half, what is there is removed, if the store still answers: nothing knows of it.

        Raises:
            OSError: it cannot be written.
        """
        uri = self.remote(folder)
        if uri == folder:
            return
        try:
            s3.upload(folder, uri)
        except BaseException:
            with suppress(OSError):
                s3.S3.rmtree(uri)
            raise

    def clear(self) -> None:
        """Removes the copies."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def at_hand(folder: str, home: str) -> Iterator[str]:
    """A folder that TensorFlow can open: the folder itself or, for as long as the context lasts, a copy.

    Args:
        folder: of this machine or of any store.
        home: where there is room for a copy.

    Raises:
        OSError: it cannot be read.
    """
    if not is_staged(folder):
        yield folder
        return
    with TemporaryDirectory(prefix="copy-", dir=home) as copies:
        yield Copies(copies).fetch(folder, {})


def _take_name(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        # A step that runs at the same time was faster.
        if not folder.exists():
            raise


def _replaced(place: str, beginnings: Mapping[str, str]) -> str:
    for beginning, other in beginnings.items():
        if place.startswith(beginning):
            return other + place.removeprefix(beginning)
    return place
