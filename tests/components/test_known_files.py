"""Tests of which files are taken for unchanged without reading them."""

import os
import time
from pathlib import Path

import pytest

from components.track_example_gen import known_files
from components.track_example_gen.known_files import FILE, KnownFiles
from components.track_example_gen.store import shard_folders

pytestmark = pytest.mark.fast

_TICK_NS = 1_000_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written longer ago than file times are coarse."""
    monkeypatch.setattr(known_files, "_COARSEST_NS", _TICK_NS)
    path = tmp_path / "a.json"
    path.write_text("one")
    _wait()
    return path


def _wait() -> None:
    """Lets the clock of the files go on."""
    time.sleep(20 * _TICK_NS / 1e9)


def _look(file: Path, trusted: bool = True) -> tuple[bytes, int]:
    """A file's hash in a run, and how many files were known."""
    files = KnownFiles(str(file.parent / "store"), trusted)
    digest = files.digest(str(file))
    files.save()
    return digest, files.unread


def test_unchanged_file_is_read_once(file: Path) -> None:
    digest, unread = _look(file)
    assert unread == 0
    assert _look(file) == (digest, 1)
    assert _look(file) == (digest, 1)


def test_file_that_is_made_again_is_seen(file: Path) -> None:
    digest, _ = _look(file)
    known = KnownFiles(str(file.parent / "store"))
    file.unlink()
    file.write_text("two")
    assert known.digest(str(file)) != digest


def test_file_is_read_if_it_is_asked_for(file: Path) -> None:
    digest, _ = _look(file)
    assert _look(file, trusted=False) == (digest, 0)
    assert _look(file) == (digest, 1)


def test_other_content_of_the_same_size_and_modification_time_is_seen(file: Path) -> None:
    digest, _ = _look(file)
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _look(file)[0] != digest


def test_replaced_file_is_seen(file: Path) -> None:
    digest, _ = _look(file)
    other = file.with_name("other")
    other.write_text("two")
    status = file.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert _look(file)[0] != digest


def test_touched_file_is_read_and_is_the_same(file: Path) -> None:
    digest, _ = _look(file)
    os.utime(file)
    _wait()
    assert _look(file) == (digest, 0)
    assert _look(file) == (digest, 1)


def test_file_that_was_just_written_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_files, "_COARSEST_NS", 3_600_000_000_000)
    digest, _ = _look(file)
    assert _look(file) == (digest, 0)


def test_unreadable_file_is_tried_again(tmp_path: Path, file: Path) -> None:
    folder = tmp_path / "folder.json"
    folder.mkdir()
    _wait()
    assert _look(folder)[1] == _look(folder)[1] == 0
    missing = _look(tmp_path / "nothing.json")[0]
    assert missing == _look(folder)[0] != _look(file)[0]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"\xff"])
def test_damaged_notes_are_none(file: Path, content: bytes) -> None:
    digest, _ = _look(file)
    (file.parent / "store" / FILE).write_bytes(content)
    assert _look(file) == (digest, 0)
    assert _look(file) == (digest, 1)


def test_store_that_cannot_be_written_keeps_nothing(file: Path) -> None:
    (file.parent / "store").write_text("")
    assert _look(file)[0] == _look(file)[0]


def test_notes_are_no_shard_and_leave_nothing_beside_them(file: Path) -> None:
    _look(file)
    store = file.parent / "store"
    assert [path.name for path in store.iterdir()] == [FILE]
    assert shard_folders(str(store)) == []


def test_files_that_are_gone_are_forgotten(file: Path) -> None:
    _look(file)
    other = file.with_name("b.json")
    other.write_text("b")
    _wait()
    _look(other)
    assert _look(file)[1] == 0
