"""S3 for TFX's file input and output, by Arrow's client.

TensorFlow's own one, in tensorflow-io, has had no release since 2024 and does not load on a newer TensorFlow. What only
TensorFlow or Beam reads and writes, as a run's artifacts, is copied, see :mod:`components.storage.staging`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from io import BufferedReader, TextIOWrapper
from typing import Any

from pyarrow import fs
from tfx.dsl.io import filesystem

SCHEME = "s3://"

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# One request each; most analyses are smaller than that.
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Stat:
    """What is known of a file, as TensorFlow calls it.

    Attributes:
        length: in bytes.
        mtime_nsec: when it was written, in nanoseconds since 1970.
    """

    length: int
    mtime_nsec: int


class S3(filesystem.Filesystem):
    """Objects and what looks like their folders. All raise OSError where the service refuses or does not answer.

    An object whose key has an empty part, as ``a//b``, is in no folder, and left out.

    Credentials and the region come from where AWS's tools have them: ``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, a profile,
    the machine's role; another service than AWS's from ``AWS_ENDPOINT_URL``.
    """

    SUPPORTED_SCHEMES = (SCHEME,)

    @staticmethod
    def open(name: str, mode: str = "r") -> Any:
        """A file to read, anywhere in it, or a binary one to write from its beginning.

        What is written is there once the file is closed, even by an exception; of a process that is killed, the service
        may keep an upload that nobody sees.
        """
        if mode in ("rb", "r"):
            file = BufferedReader(client().open_input_file(_key(name)), _READ_BYTES)
            return file if mode == "rb" else TextIOWrapper(file, encoding="utf-8")
        if mode == "wb":
            return client().open_output_stream(_key(name), compression=None)  # Not what the name says.
        raise ValueError(f"no file on S3 is opened as {mode!r}")

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is a file or a folder."""
        return bool(_info(path).type != fs.FileType.NotFound)

    @staticmethod
    def isdir(path: str) -> bool:
        """Whether there is a folder."""
        return bool(_info(path).type == fs.FileType.Directory)

    @staticmethod
    def stat(path: str) -> Stat:
        """A file's size and time; NotFoundError if it is not there."""
        info = _info(path)
        if not info.is_file:
            raise filesystem.NotFoundError(f"{path} is no file")
        return Stat(info.size, info.mtime_ns)

    @staticmethod
    def listdir(path: str) -> list[str]:
        """The names in a folder; FileNotFoundError if it is not there."""
        return [info.base_name for info in _children(path)]

    @staticmethod
    def walk(
        top: str, topdown: bool = True, onerror: Callable[..., None] | None = None
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        """Each folder with the names of its folders, of which a caller may remove some, and of its files."""
        if not topdown or onerror is not None:
            raise NotImplementedError("S3 is walked from the top, up to the first error")
        found = _children(top)
        folders = [info.base_name for info in found if not info.is_file]
        yield top, folders, [info.base_name for info in found if info.is_file]
        for folder in folders:
            yield from S3.walk(f"{top.rstrip('/')}/{folder}")

    @staticmethod
    def glob(pattern: str) -> list[str]:
        """The files and folders of a pattern; ``*`` stands for any part of one name."""
        bucket, *names = _key(pattern).split("/")
        found = [f"{SCHEME}{bucket}"]
        for name in names:
            found = [f"{folder}/{child}" for folder in found for child in _matching(folder, name)]
        return found

    @staticmethod
    def copy(src: str, dst: str, overwrite: bool = False) -> None:
        """Copies a file of up to 5 GB, without a way over this machine."""
        _require_none(dst, overwrite)
        client().copy_file(_key(src), _key(dst))

    @staticmethod
    def makedirs(path: str) -> None:
        """Makes a folder and those around it that are missing, which are empty objects, but no bucket."""
        # Arrow would write all of them, be they there or not, also where only a part of the bucket may be written to.
        if not S3.exists(path):
            parent, _, _ = path.rstrip("/").rpartition("/")
            if parent.startswith(SCHEME):
                S3.makedirs(parent)
            client().create_dir(_key(path), recursive=False)

    @staticmethod
    def remove(path: str) -> None:
        """Removes a file."""
        client().delete_file(_key(path))

    @staticmethod
    def rmtree(path: str) -> None:
        """Removes a folder with all that is in it."""
        client().delete_dir(_key(path))

    @staticmethod
    def rename(src: str, dst: str, overwrite: bool = False) -> None:
        """Copies a file of up to 5 GB, then removes the first one: S3 knows no better."""
        _require_none(dst, overwrite)
        client().move(_key(src), _key(dst))


def download(uri: str, folder: str) -> None:
    """Copies a folder to this machine; raises OSError."""
    fs.copy_files(_key(uri), folder, source_filesystem=client(), destination_filesystem=fs.LocalFileSystem())


def upload(folder: str, uri: str) -> None:
    """Copies a folder of this machine, be it empty; raises OSError."""
    S3.makedirs(uri)
    here = fs.LocalFileSystem()
    for info in here.get_file_info(fs.FileSelector(folder, recursive=True)):
        if info.is_file:
            # Not in threads: they would wait for each other, as Arrow sends a file's parts by the same ones.
            fs.copy_files(info.path, f"{_key(uri)}/{os.path.relpath(info.path, folder)}", here, client())


@cache
def client() -> fs.S3FileSystem:
    """The client of the service that the environment names, one for this process."""
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    return fs.S3FileSystem(endpoint_override=endpoint)


def _key(path: str) -> str:
    key = path.removeprefix(SCHEME).rstrip("/")
    if "" in key.split("/"):
        raise OSError(f"{path} names nothing: a part of it is empty")
    return key


def _require_none(path: str, overwrite: bool) -> None:
    if not overwrite and S3.exists(path):
        raise FileExistsError(f"{path} is there already")


def _matching(folder: str, name: str) -> list[str]:
    if "*" not in name:
        return [name] if S3.exists(f"{folder}/{name}") else []
    return [child for child in S3.listdir(folder) if fnmatchcase(child, name)] if S3.isdir(folder) else []


def _info(path: str) -> fs.FileInfo:
    return client().get_file_info(_key(path))


def _children(path: str) -> list[fs.FileInfo]:
    folder = _key(path)
    found = client().get_file_info(fs.FileSelector(folder))
    # Arrow lists a folder as its own child where a key goes on with two slashes.
    return sorted((info for info in found if info.path != folder), key=lambda info: str(info.base_name))
