"""Archives of analyses in any other form, read without unpacking anything to a disk."""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from deepmusic_genre.tracks.passed_over import is_passed_over
from deepmusic_genre.tracks.source import Source, endings, read_file, source_among
from deepmusic_genre.tracks.streams import GZIP_ERRORS, decompressed, require_ratio, with_compressions
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track

_TAR_SUFFIXES = (*with_compressions(".tar"), ".tgz", ".tbz2", ".txz")
_ZIP_SUFFIXES = (".zip",)
_STREAM_BYTES = 1 << 16
_MAX_TAR_HEADER_BYTES = 1 << 20
_DRIVE = re.compile("[A-Za-z]:")
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1


class TarArchive:
    """Reads a tar, plain or compressed, as a stream.

    A member's path is the archive's, ``!/`` and its own, so that folders inside name genres as those outside do.
    """

    name = "tar"
    suffixes = _TAR_SUFFIXES

    def __init__(self, sources: Sequence[Source]) -> None:
        """Makes a source of archives of what ``sources`` read."""
        self._sources = sources

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields the tracks of each member, or rejections; see :class:`deepmusic_genre.tracks.source.Source`."""
        count, empty = 0, True
        try:
            content = decompressed(stream)
            with tarfile.open(fileobj=content, mode="r|", bufsize=_STREAM_BYTES, tarinfo=_TarMember) as archive:
                while (member := archive.next()) is not None:
                    # The archive would keep all of them. The type stubs do not know of that.
                    archive.members.clear()  # type: ignore[attr-defined]
                    count += 1
                    for item in self._read_member(path, archive, member):
                        empty = False
                        yield item
        except (tarfile.TarError, InvalidTrack, *GZIP_ERRORS) as error:
            yield Rejection(path, f"truncated or damaged archive, after {count:,} members: {error}")
            return
        if empty:
            yield _nothing_in(path, self._sources)

    def _read_member(self, path: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Track | Rejection]:
        name = _readable(member.name)
        place = _place(path, name)
        fault = _name_fault(name) or _tar_fault(member)
        if fault:
            yield Rejection(place, fault)
        elif member.isreg() and _is_wanted(name, self._sources):
            content = archive.extractfile(member)
            if content is not None:
                yield from read_file(place, cast("BinaryIO", content), self._sources)


class _TarMember(tarfile.TarInfo):
    """A member's header. ``tarfile`` itself takes a damaged or missing one for the end, and reads one of any size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _TarMember:
        try:
            # The type stubs want an encoding; it may be None, as in the library's own calls.
            member = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # The end that an archive has.
            raise tarfile.ReadError(str(error)) from error
        if not member.isreg() and member.size > _MAX_TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def _tar_fault(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link, to {_readable(member.linkname)}: links are not followed"
    if member.isdev():
        return "a device or a pipe"
    return "a sparse file: those are not read" if member.issparse() else ""


class ZipArchive:
    """Reads a zip. Its directory stands at its end, so that the file has to seek, and a truncated one is unreadable.

    Paths are made as in :class:`TarArchive`.
    """

    name = "zip"
    suffixes = _ZIP_SUFFIXES

    def __init__(self, sources: Sequence[Source]) -> None:
        """Makes a source of archives of what ``sources`` read."""
        self._sources = sources

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        """Yields the tracks of each member, or rejections; see :class:`deepmusic_genre.tracks.source.Source`."""
        try:
            size = stream.seek(0, 2) or stream.tell()
            archive = zipfile.ZipFile(stream)
        except Exception as error:
            # zipfile has no list of what it raises for a damaged directory.
            yield Rejection(path, f"truncated or damaged archive, nothing of it can be read: {error}")
            return
        unpacked, empty = 0, True
        with archive:
            for member in archive.infolist():
                unpacked += member.file_size
                try:
                    require_ratio(unpacked, size)
                except InvalidTrack as error:
                    yield Rejection(path, f"not read from {_zip_name(member)} on: {error}")
                    return
                for item in self._read_member(path, archive, member):
                    empty = False
                    yield item
        if empty:
            yield _nothing_in(path, self._sources)

    def _read_member(self, path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Track | Rejection]:
        name = _zip_name(member)
        place = _place(path, name)
        fault = _name_fault(name) or _zip_fault(member)
        if fault:
            yield Rejection(place, fault)
        elif not member.is_dir() and _is_wanted(name, self._sources):
            try:
                with archive.open(member) as content:
                    yield from read_file(place, cast("BinaryIO", content), self._sources)
            except Exception as error:
                # zipfile has no list of what it raises for a damaged member.
                yield Rejection(place, f"a damaged member of the archive: {error}")


def _zip_fault(member: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link: links are not followed" if kind == stat.S_IFLNK else "a device or a pipe"
    return "it is encrypted" if member.flag_bits & _ENCRYPTED_FLAG else ""


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name. Many archivers write UTF-8 without saying so, which hardly any other text is valid as."""
    name = member.filename.replace("\\", "/")
    if member.flag_bits & _UTF8_FLAG:
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _readable(name: str) -> str:
    """A tar's name, with a mark for each byte that is no UTF-8; separators are those of Windows, too."""
    return name.replace("\\", "/").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _place(path: str, name: str) -> str:
    return f"{path}!/{name.removeprefix('./')}"


def _name_fault(name: str) -> str:
    parts = PurePosixPath(name).parts
    if ".." in parts:
        return "its name leads out of the archive"
    if parts and (parts[0].startswith("/") or _DRIVE.match(parts[0])):
        return "its name is an absolute path"
    if name.lower().endswith((*_TAR_SUFFIXES, *_ZIP_SUFFIXES)):
        return "an archive within an archive: those are not read"
    return ""


def _is_wanted(name: str, sources: Sequence[Source]) -> bool:
    return source_among(name, sources) is not None and not any(map(is_passed_over, PurePosixPath(name).parts))


def _nothing_in(path: str, sources: Sequence[Source]) -> Rejection:
    return Rejection(path, f"it holds no analysis: no name in it ends in {endings(sources)}")
