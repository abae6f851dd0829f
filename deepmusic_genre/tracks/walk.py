"""Which files below a folder are read: one rule for runs, bulk tagging and the client."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deepmusic_genre.tracks import crawled_store
from deepmusic_genre.tracks.passed_over import is_passed_over
from deepmusic_genre.tracks.registry import source_for
from deepmusic_genre.tracks.track import Rejection, Unreadable

_OTHERS_SHOWN = 5

Folders = Iterable[tuple[str, list[str], list[str]]]
"""As ``os.walk`` gives them from the top down: a folder, the folders in it, and its files."""


@dataclass
class Listing:
    """What is below a folder.

    Attributes:
        files: Those that a source reads, a folder's own before those of its folders, each in order of their names.
        rejections: Names that a source reads and that are no files, or cannot be read.
        others: Files that no source reads, by the endings of their names in lower case.
    """

    files: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def of_other_kinds(self) -> str:
        """A line on the files that no source reads; empty where there are none."""
        shown = ", ".join(f"{ending} {count:,}" for ending, count in self.others.most_common(_OTHERS_SHOWN))
        more = ", …" if len(self.others) > _OTHERS_SHOWN else ""
        return f"{self.others.total():,} files of other kinds: {shown}{more}" if self.others else ""


def list_local(folder: str) -> Listing:
    """What is below a folder of this machine; links are followed, each folder once."""
    listing = Listing()

    def unreadable(error: OSError) -> None:
        listing.rejections.append(Unreadable(shown(error.filename), f"cannot be read: {error.strerror}"))

    for path in _files(os.walk(folder, onerror=unreadable, followlinks=True), listing):
        fault = _fault(path)
        if fault:
            listing.rejections.append(Rejection(shown(path), fault))
        else:
            listing.files.append(path)
    return listing


def only_texts(listing: Listing) -> Listing:
    """The listing with names that are no text among its rejections: beside this machine's, programs take text alone."""
    named = [path for path in listing.files if not _is_text(path)]
    told = [Rejection(shown(path), "its name is not UTF-8: give it another one") for path in named]
    return Listing([*filter(_is_text, listing.files)], [*listing.rejections, *told], listing.others)


def list_remote(folders: Folders) -> Listing:
    """What a walk through a remote file system's folders finds."""
    listing = Listing()
    listing.files.extend(_files(folders, listing))
    return listing


def shown(path: str) -> str:
    """A path as text: on the disk, a name may be any bytes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _files(folders: Folders, listing: Listing) -> Iterator[str]:
    seen = set()
    for parent, below, names in folders:
        real = os.path.realpath(parent)
        if real in seen:
            below.clear()  # A link led back here.
            continue
        seen.add(real)
        wanted = sorted(name for name in crawled_store.enter(below, names) if not is_passed_over(name))
        below[:] = sorted(name for name in below if not is_passed_over(name))
        for name in wanted:
            if source_for(name):
                # Not a Path, which would take the two slashes of a remote place for one.
                yield os.path.join(parent, name)  # noqa: PTH118
            else:
                listing.others[PurePosixPath(shown(name)).suffix.lower() or "without an ending"] += 1


def _is_text(path: str) -> bool:
    return shown(path) == path


def _fault(path: str) -> str:
    """Why a path is not read, empty if it is."""
    try:
        # A Path would take longer to make than the call takes.
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        return "a link to nothing" if Path(path).is_symlink() else f"cannot be read: {error.strerror}"
    return "" if stat.S_ISREG(mode) else "not a file, but a pipe or a device"
