"""Genres written into the tags of sound files: nothing else of them changes, and the former bytes come back."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.aiff import AIFF
from mutagen.id3 import ID3
from mutagen.wave import WAVE

from deepmusic_genre.analyser.decode import decode
from deepmusic_genre.tracks.delta import delta, restored
from deepmusic_genre.tracks.replacing import Irreplaceable, read_original, replace_content
from deepmusic_genre.tracks.tag_writing import Unwritable, with_genre
from deepmusic_genre.tracks.tags import read_tags
from tests.deepmusic_genre.test_tags import MP3, asf, by_ffmpeg, id3_bytes, id3v1, in_chunk, mp4, vorbis, with_ape
from tests.support.sounds import id3, of_form

pytestmark = pytest.mark.fast

GENRE = "Hip-Hop"


def _tagged(form: str) -> bytes:
    makers: dict[str, Callable[[], bytes]] = {
        "mp3": lambda: id3_bytes("Jazz") + MP3,
        "wav": lambda: in_chunk(WAVE, "wav"),
        "aiff": lambda: in_chunk(AIFF, "aiff"),
        "tta": lambda: id3_bytes("Jazz") + of_form("tta"),
        "wv": lambda: with_ape(of_form("wv")),
        "mp4": mp4,
        "wma": asf,
    }
    return makers.get(form, lambda: vorbis(form))()


FORMS = ("mp3", "wav", "aiff", "tta", "wv", "flac", "ogg", "opus", "mp4", "wma")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tagged", [False, True])
def test_the_genre_alone_changes_in_any_form(form: str, tagged: bool) -> None:
    content = _tagged(form) if tagged else (MP3 if form == "mp3" else of_form(form))
    changed = with_genre(content, f"a.{form}", GENRE)
    before, after = read_tags(content), read_tags(changed)
    assert after.genres == (GENRE,)
    assert (after.artist, after.title, after.album) == (before.artist, before.title, before.album)
    sounds = [decode(io.BytesIO(each)).samples for each in (content, changed)]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert restored(delta(content, changed), changed) == content
    assert with_genre(changed, f"a.{form}", "Jazz") != changed


def _size(number: int, bits: int) -> bytes:
    return bytes(number >> bits * place & ((1 << bits) - 1) for place in (3, 2, 1, 0))


def _raw_tag(version: int, **frames: bytes) -> bytes:
    """A tag without padding, its frames in this order."""
    body = b"".join(
        name.encode() + _size(len(frame), 7 if version == 4 else 8) + bytes(2) + frame for name, frame in frames.items()
    )
    return b"ID3" + bytes([version, 0, 0]) + _size(len(body), 7) + body


PICTURE = b"\0image/png\0\3\0" + np.random.default_rng(0).bytes(300_000)


@pytest.mark.parametrize("version", [3, 4])
def test_id3v2_keeps_its_version_and_its_frames_and_id3v1_stays(version: int) -> None:
    frames = {"APIC": PICTURE, "XYZA": b"unknown", "TYER": b"\x001999", "TPE1": b"\0Ann", "TCON": b"\0Rock"}
    content = _raw_tag(version, **frames) + MP3 + id3v1(17)
    changed = with_genre(content, "a.mp3", GENRE)
    assert changed[3] == version
    assert changed.endswith(MP3 + id3v1(17))
    raw = ID3(io.BytesIO(changed), translate=False, load_v1=False)
    assert raw["TCON"].text == [GENRE]
    assert raw["TYER"].text == ["1999"]
    assert all(part in changed for part in (PICTURE, b"XYZA", b"unknown"))
    # A picture that moves is no part of what the way back needs.
    parts = delta(content, changed)
    assert len(repr(parts)) < 10_000
    assert restored(parts, changed) == content


def test_several_genres_become_one_and_a_foreign_alphabet_is_written() -> None:
    changed = with_genre(id3_bytes("Jazz", "Blues", version=3) + MP3, "a.mp3", "Шансон")
    assert read_tags(changed).genres == ("Шансон",)


def _damaged_vorbis() -> bytes:
    damaged = bytearray(vorbis("flac"))
    start = damaged.index(b"genre=Jazz") - 4
    damaged[start : start + 4] = b"\xff\xff\xff\x7f"
    return bytes(damaged)


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (lambda: by_ffmpeg("matroska", "flac"), "a.mka", "mutagen writes no tags into files of its form"),
        (lambda: of_form("au"), "a.au", "mutagen writes no tags into files of its form"),
        (lambda: of_form("aac"), "a.aac", "mutagen cannot write its tags: "),
        (lambda: b"ID3\2\0\0\0\0\0\x0bTP1\0\0\5\0Anna" + MP3, "a.mp3", "its tag is ID3v2.2, which mutagen"),
        (lambda: with_ape(MP3), "a.mp3", "its APE tag names a genre, and stands beside ID3"),
        (lambda: bytes(1000) + id3_bytes("Jazz") + MP3, "a.mp3", "its other tags would not stay as they are"),
        (_damaged_vorbis, "a.flac", "its tags cannot be read: "),
        (lambda: b"", "a.mp3", "mutagen "),
        (lambda: id3(1000)[:500], "a.mp3", ""),
    ],
)
def test_what_cannot_be_written_has_a_reason(make: Callable[[], bytes], name: str, reason: str) -> None:
    with pytest.raises(Unwritable) as raised:
        with_genre(make(), name, GENRE)
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=5000), st.binary(max_size=50), st.binary(max_size=5000), st.integers(0, 5000))
def test_any_content_comes_back(front: bytes, put: bytes, behind: bytes, place: int) -> None:
    former = front + behind * 2
    new = behind[place:] + front + put + behind
    parts = delta(former, new)
    assert restored(parts, new) == former
    assert restored(parts, new + b"more") == former


def test_a_damaged_way_back_is_an_error() -> None:
    with pytest.raises(ValueError, match="damaged"):
        restored(["abc"], b"")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"former")
    path.chmod(0o640)
    os.utime(path, ns=(1_000_000_007, 2_000_000_009))
    return path


def _nothing() -> None:
    pass


def test_a_file_keeps_its_times_rights_and_attributes(file: Path) -> None:
    try:
        os.setxattr(file, "user.mood", b"calm")
    except OSError:
        pytest.skip("a file system without extended attributes")
    link = file.with_name("link.mp3")
    link.symlink_to(file.name)
    before = file.stat()
    replace_content(read_original(link), b"new content", _nothing)
    after = file.stat()
    assert file.read_bytes() == b"new content"
    assert link.is_symlink()
    assert os.getxattr(file, "user.mood") == b"calm"
    for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        assert getattr(after, name) == getattr(before, name)
    assert {path.name for path in file.parent.iterdir()} == {"a.mp3", "link.mp3"}


def test_read_only_files_and_hard_links_are_left(file: Path) -> None:
    file.chmod(0o444)
    with pytest.raises(Irreplaceable, match="it is read-only"):
        read_original(file)
    file.chmod(0o644)
    os.link(file, file.with_name("b.mp3"))
    with pytest.raises(Irreplaceable, match="it is 2 hard links to one file"):
        read_original(file)


@pytest.mark.parametrize("change", ["write", "replace", "remove"])
def test_a_file_that_changes_meanwhile_is_left(file: Path, change: str) -> None:
    original = read_original(file)

    def happens() -> None:
        if change == "write":
            file.write_bytes(b"theirs")
            os.utime(file, ns=(1_000_000_007, 2_000_000_009))
        elif change == "replace":
            other = file.with_name("other")
            other.write_bytes(b"theirs")
            other.replace(file)
        else:
            file.unlink()

    with pytest.raises(Irreplaceable):
        replace_content(original, b"new content", happens)
    assert [path.read_bytes() for path in file.parent.iterdir()] == ([] if change == "remove" else [b"theirs"])


def test_nothing_is_left_of_what_cannot_be_written_whole(file: Path) -> None:
    resource = pytest.importorskip("resource")
    original, limits = read_original(file), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_content(original, bytes(5000), _nothing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in file.parent.iterdir()] == ["a.mp3"]
    assert file.read_bytes() == b"former"
