"""Which files below a folder are read, by every command."""

import os
import socket
from pathlib import Path

import pytest

from components.track_example_gen.catalogue import fingerprint, list_analyses
from deepmusic_genre import Track, read_tracks
from deepmusic_genre.tracks.track import Unreadable
from deepmusic_genre.tracks.walk import list_local
from tests.conftest import without_rights
from tests.support.tracks import analysis, write_analysis

pytestmark = pytest.mark.fast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_analysis(tmp_path / "data" / "Album" / "a.json", analysis(0))
    return tmp_path / "data"


@pytest.mark.parametrize(
    "place", [".hidden", ".Trash-1000/files", "@eaDir", "__MACOSX", "$RECYCLE.BIN/S-1-5", "lost+found", "Album/._x"]
)
def test_what_is_no_music_is_passed_over_by_every_command(folder: Path, place: str) -> None:
    before = [str(folder / "Album" / "a.json")]
    write_analysis(folder / place / "b.json", analysis(1))
    listing = list_analyses(str(folder))
    assert (listing.files, listing.rejections) == (before, [])
    assert not listing.others
    assert [file for file, _ in read_tracks([str(folder)])] == before


def test_a_folder_that_is_named_itself_is_read_whatever_its_name(folder: Path) -> None:
    track = write_analysis(folder / ".hidden" / "b.json", analysis(1))
    assert list_local(str(folder / ".hidden")).files == [str(track)]


def test_files_of_other_kinds_are_counted_by_their_endings(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.JPG").touch()
    for name in ("a.cue", "README", ".DS_Store", "Thumbs.db"):
        (folder / name).touch()
    found = list_local(str(folder)).of_other_kinds()
    assert found == "6 files of other kinds: .jpg 3, without an ending 1, .db 1, .cue 1"
    assert list_local(str(folder / "Album")).of_other_kinds() == ""


def _faulty(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "pipe.json")
    (folder / "link.json").symlink_to(folder / "nowhere")
    (folder / os.fsdecode(b"caf\xe9.json")).write_text("{}")
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(folder)  # A socket's path has to be short.
        bound.bind("socket.json")
    return {
        "caf\\xe9.json": "its name is not UTF-8: give it another one",
        "link.json": "a link to nothing",
        "pipe.json": "not a file, but a pipe or a device",
        "socket.json": "not a file, but a pipe or a device",
    }


def test_what_cannot_be_read_costs_itself_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = {f"{folder}/{name}": reason for name, reason in _faulty(folder).items()}
    listing = list_analyses(str(folder))
    assert listing.files == [str(folder / "Album" / "a.json")]
    assert {item.path: item.reason for item in listing.rejections} == expected
    # The file whose name is no text can be read here, and is no analysis.
    items = [item for _, item in read_tracks([str(folder)])]
    assert (len(items), sum(isinstance(item, Track) for item in items)) == (5, 1)


def test_a_folder_without_rights_costs_itself_alone(folder: Path) -> None:
    closed = folder / "closed"
    write_analysis(closed / "b.json", analysis(1))
    closed.chmod(0)
    with without_rights(folder):
        listing = list_local(str(folder))
    assert listing.files == [str(folder / "Album" / "a.json")]
    assert listing.rejections == [Unreadable(str(closed), "cannot be read: Permission denied")]


def test_a_file_that_cannot_be_read_is_part_of_what_a_catalogue_is(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    (folder / "link.json").symlink_to(folder / "nowhere")
    assert fingerprint(str(folder), None) != before


def test_links_are_followed_and_each_folder_is_entered_once(folder: Path, tmp_path: Path) -> None:
    write_analysis(tmp_path / "elsewhere" / "b.json", analysis(1))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    assert list_local(str(folder)).files == [str(folder / "Album" / "a.json"), str(folder / "linked" / "b.json")]
