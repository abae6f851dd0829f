"""Tests of archives: what is read of them, and what of them could do harm."""

import gzip
import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.support.tracks import analysis, segments_of, write_analysis, write_h5

pytestmark = pytest.mark.fast

Members = Sequence[tuple[str, bytes]]


def _tar(members: Members, mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    # The type stubs know constant modes only.
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, member in members:
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


def _zip(members: Members) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members:
            archive.writestr(zipfile.ZipInfo(name), member, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _read(name: str, content: bytes) -> list[Track | Rejection]:
    return list(read(name, io.BytesIO(content)))


def _analysis(seed: int, **more: Any) -> bytes:
    return json.dumps(analysis(seed) | more).encode()


FORMS = pytest.mark.parametrize(("name", "pack"), [("a.tar.gz", _tar), ("a.zip", _zip)], ids=["tar.gz", "zip"])
Pack = Callable[[Members], bytes]


@FORMS
def test_every_form_is_read_where_it_stands(tmp_path: Path, name: str, pack: Pack) -> None:
    members = [
        ("Jazz/", b""),
        ("Jazz/x.json", _analysis(0)),
        ("./Jazz/y.json.gz", gzip.compress(_analysis(1))),
        ("dump.jsonl", _analysis(2, track_id="L1") + b"\n" + _analysis(3, track_id="L2")),
        ("array.json", b"[" + _analysis(4, track_id="A") + b"]"),
        ("h5/z.h5", write_h5(tmp_path / "z.h5", ["H0"]).read_bytes()),
        ("README", b"not read"),
        ("__MACOSX/._x.json", b"not read"),
    ]
    items = _read(name, pack([member for member in members if member[0] != "Jazz/" or name == "a.zip"]))
    assert all(isinstance(item, Track) for item in items), items
    assert [(item.path, item.track_id) for item in items] == [
        (f"{name}!/Jazz/x.json", "x"),
        (f"{name}!/Jazz/y.json.gz", "y"),
        (f"{name}!/dump.jsonl:1", "L1"),
        (f"{name}!/dump.jsonl:2", "L2"),
        (f"{name}!/array.json[0]", "A"),
        (f"{name}!/h5/z.h5", "H0"),
    ]
    for seed, item in zip([0, 1, 2, 3, 4, 0], items, strict=True):
        assert isinstance(item, Track)
        np.testing.assert_array_equal(item.segments, segments_of(analysis(seed)))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_every_kind_are_read(tmp_path: Path, mode: str, form: int) -> None:
    # A name longer than a header has room for, except in the oldest form.
    file = write_analysis(tmp_path / ("long" * 20) / f"{'x' * 60}é.json", analysis(0))
    content = io.BytesIO()
    # The type stubs know constant modes only.
    with tarfile.open(fileobj=content, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        archive.add(tmp_path, "top")
    (item,) = _read("a.tar", content.getvalue())
    assert item.path == f"a.tar!/top/{file.relative_to(tmp_path)}"
    assert item.track_id == f"{'x' * 60}é"


def test_archive_is_read_through_a_remote_file_systems_file(tmp_path: Path) -> None:
    for name, pack in (("a.tar.gz", _tar), ("a.zip", _zip)):
        (tmp_path / name).write_bytes(pack([("x.json", _analysis(0))]))
        with tf.io.gfile.GFile(str(tmp_path / name), "rb") as stream:
            (item,) = read(name, stream)
        assert isinstance(item, Track)


# What could do harm

TRICKS = [
    ("../x.json", "its name leads out of the archive"),
    ("a/../../x.json", "its name leads out of the archive"),
    ("..\\x.json", "its name leads out of the archive"),
    ("/etc/x.json", "its name is an absolute path"),
    ("C:\\x.json", "its name is an absolute path"),
    ("inner.zip", "an archive within an archive: those are not read"),
    ("Jazz/inner.TAR.GZ", "an archive within an archive: those are not read"),
]


@FORMS
@pytest.mark.parametrize(("trick", "reason"), TRICKS)
def test_path_tricks_are_listed_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pack: Pack, trick: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bad, good = _read(name, pack([(trick, _analysis(0)), ("good.json", _analysis(1))]))
    assert isinstance(bad, Rejection)
    assert bad.reason == reason
    assert isinstance(good, Track)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a link, to /etc/passwd: links are not followed"),
        (tarfile.LNKTYPE, "a link, to /etc/passwd: links are not followed"),
        (tarfile.CHRTYPE, "a device or a pipe"),
        (tarfile.FIFOTYPE, "a device or a pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_listed(kind: bytes, reason: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        info = tarfile.TarInfo("x.json")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert _read("a.tar", content.getvalue()) == [Rejection("a.tar!/x.json", reason)]


def test_link_in_a_zip_is_listed() -> None:
    info = zipfile.ZipInfo("x.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert _read("a.zip", content.getvalue()) == [Rejection("a.zip!/x.json", "a link: links are not followed")]


def test_encrypted_member_is_listed() -> None:
    content = bytearray(_zip([("x.json", _analysis(0)), ("y.json", _analysis(1))]))
    # The flag in the first entry of the directory.
    content[content.index(b"PK\1\2") + 8] |= 1
    encrypted, other = _read("a.zip", bytes(content))
    assert encrypted == Rejection("a.zip!/x.json", "it is encrypted")
    assert isinstance(other, Track)


@FORMS
def test_bomb_is_not_unpacked(name: str, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1 << 20)
    blanks = b" " * (12 << 20)
    content = pack([("first.json", _analysis(0)), *((f"{number}.json", blanks) for number in range(4))])
    assert len(content) < 1 << 18
    first, *rejected = _read(name, content)
    assert isinstance(first, Track)
    assert all(isinstance(item, Rejection) for item in rejected)
    assert any("bomb" in item.reason for item in rejected if isinstance(item, Rejection))
    # The others are not even begun.
    assert len(rejected) <= 2


def test_bomb_among_files_that_are_not_read_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.source.MAX_ANALYSIS_BYTES", 1 << 20)
    (item,) = _read("a.tgz", _tar([("notes.txt", b" " * (12 << 20)), ("x.json", _analysis(0))]))
    assert isinstance(item, Rejection)
    assert "bomb" in item.reason


def test_header_that_declares_a_huge_name_is_not_read() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    (item,) = _read("a.tar", info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)
    assert isinstance(item, Rejection)
    assert "a header of 4,294,967,296 bytes" in item.reason


# What is damaged


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("left", [0.3, 0.5, 0.9])
def test_truncated_tar_is_read_as_far_as_it_goes(mode: str, left: float) -> None:
    content = _tar([(f"{seed}.json", json.dumps(analysis(seed, segments=200)).encode()) for seed in range(20)], mode)
    items = _read("a.tar", content[: int(left * len(content))])
    tracks = [item for item in items if isinstance(item, Track)]
    assert 20 * left - 4 <= len(tracks) <= 20 * left
    assert isinstance(items[-1], Rejection)
    assert items[-1].path == "a.tar"
    assert "truncated or damaged archive" in items[-1].reason


def _second_header(content: bytes | bytearray) -> int:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmembers()[1].offset


def test_tar_cut_between_two_members_is_told() -> None:
    whole = _tar([("0.json", _analysis(0)), ("1.json", _analysis(1))], "w")
    track, rejection = _read("a.tar", whole[: _second_header(whole)])
    assert isinstance(track, Track)
    assert isinstance(rejection, Rejection)
    assert "after 1 members" in rejection.reason


def test_damaged_header_within_a_tar_is_told() -> None:
    content = bytearray(_tar([("0.json", _analysis(0)), ("1.json", _analysis(1))], "w"))
    content[_second_header(content) + 3] ^= 0xFF
    track, rejection = _read("a.tar", bytes(content))
    assert isinstance(track, Track)
    assert isinstance(rejection, Rejection)
    assert "bad checksum" in rejection.reason


@pytest.mark.parametrize("left", [0, 1, 30, 0.5, 0.99])
def test_truncated_zip_is_rejected(left: float) -> None:
    content = _zip([("0.json", _analysis(0))])
    (item,) = _read("a.zip", content[: int(left if left >= 1 else left * len(content))])
    assert isinstance(item, Rejection)
    assert "nothing of it can be read" in item.reason


def test_damaged_member_of_a_zip_is_rejected_alone() -> None:
    content = bytearray(_zip([("0.json", _analysis(0)), ("1.json", _analysis(1))]))
    content[200] ^= 0xFF
    damaged, whole = _read("a.zip", bytes(content))
    assert isinstance(damaged, Rejection)
    assert damaged.path == "a.zip!/0.json"
    assert isinstance(whole, Track)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, b"\x1f\x8b\x08", b"PK\3\4"])
def test_what_is_no_archive_is_rejected(name: str, content: bytes) -> None:
    (item,) = _read(name, content)
    assert isinstance(item, Rejection)
    assert item.path == name


@FORMS
def test_archive_without_an_analysis_is_rejected(name: str, pack: Pack) -> None:
    (item,) = _read(name, pack([("README", b"hello")]))
    assert isinstance(item, Rejection)
    assert "it holds no analysis: no name in it ends in .json" in item.reason


# Names in other encodings


def test_name_that_is_not_utf8_is_read_and_shown() -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        info = tarfile.TarInfo("Café.json")
        info.size = len(_analysis(0))
        archive.addfile(info, io.BytesIO(_analysis(0)))
    (item,) = _read("a.tar", content.getvalue())
    assert isinstance(item, Track)
    assert item.track_id == "Caf\\xe9"
    item.path.encode()


@pytest.mark.parametrize(("raw", "name"), [("Café".encode(), "Café"), ("Café".encode("cp437"), "Café")])
def test_zip_name_without_a_declared_encoding_is_read(raw: bytes, name: str) -> None:
    placeholder = "x" * len(raw)
    content = _zip([(f"{placeholder}.json", _analysis(0))]).replace(placeholder.encode() + b".json", raw + b".json")
    (item,) = _read("a.zip", content)
    assert isinstance(item, Track)
    assert item.track_id == name
