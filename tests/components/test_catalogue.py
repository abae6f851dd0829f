"""Tests of the files of a catalogue: which are read, and what makes them others."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.track_example_gen.catalogue import fingerprint, list_analyses, load_labels
from components.track_example_gen.ingest import read_tracks
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.labels import GenreNames, Label
from deepmusic_genre.tracks.track import Rejection
from tests.support.tracks import GENRES, analysis, write_analysis, write_h5

pytestmark = pytest.mark.fast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the analyses ``a.json``, ``b.json.gz`` and ``sub/c.h5``."""
    write_analysis(tmp_path / "data" / "a.json", analysis(0))
    write_analysis(tmp_path / "data" / "b.json.gz", analysis(1))
    write_h5(tmp_path / "data" / "sub" / "c.h5", ["C"])
    return tmp_path / "data"


def test_analyses_are_listed_recursively_and_sorted(folder: Path) -> None:
    (folder / "notes.txt").write_text("no analysis")
    (folder / "._a.json").write_bytes(b"what a Mac leaves beside a file")
    (folder / "x.json").mkdir()
    write_analysis(folder / "0" / "Z.JSON", analysis(2))
    expected = ["0/Z.JSON", "a.json", "b.json.gz", "sub/c.h5"]
    assert list_analyses(str(folder)).files == [str(folder / name) for name in expected]


def test_of_a_crawled_store_only_the_tracks_are_listed(folder: Path) -> None:
    store = folder / "store"
    for own in ("store.json", "report.json", "passed_over.jsonl", "playlists/37i9.json", "partial/x.json.gz"):
        (store / own).parent.mkdir(parents=True, exist_ok=True)
        (store / own).write_text("{}")
    track = write_analysis(store / "analyses" / "4u" / "4uLU.json.gz", analysis(2))
    assert list_analyses(str(store)).files == [str(track)]
    assert len(list_analyses(str(folder)).files) == 4
    (store / "store.json").unlink()
    assert len(list_analyses(str(store)).files) == 5


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=f"{tmp_path / 'music'} is not there"):
        list_analyses(str(tmp_path / "music"))


def test_one_file_may_stand_for_a_folder(folder: Path) -> None:
    assert list_analyses(str(folder / "a.json")).files == [str(folder / "a.json")]


def test_file_that_no_source_reads_is_refused_for_what_it_is(folder: Path) -> None:
    (folder / "notes.txt").write_text("no analysis")
    with pytest.raises(PipelineInputError, match=r"notes\.txt is not a folder, nor a file that ends in \.json, "):
        list_analyses(str(folder / "notes.txt"))


def test_folder_without_analyses_is_refused_naming_the_endings(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no analysis")
    with pytest.raises(PipelineInputError, match=r"No audio analysis below .*\.json, \.json\.gz, .*\.h5"):
        list_analyses(str(tmp_path))


def test_link_back_to_the_folder_lists_no_file_twice(folder: Path) -> None:
    before = list_analyses(str(folder))
    for name in ("loop", "a loop beside it"):
        (folder / name).symlink_to(folder)
    assert list_analyses(str(folder)) == before


def test_labels_are_loaded_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("track_id,genre\nA,Rock\n")
    assert load_labels(str(path)) == {"A": Label("Rock", "A")}


def test_missing_labels_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with pytest.raises(PipelineInputError, match=f"{path}"):
        load_labels(str(path))


def test_folder_as_labels_file_is_refused_naming_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=f"{tmp_path}"):
        load_labels(str(tmp_path))


def test_faulty_labels_file_is_refused_naming_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,genre\nA,Rock\n")
    with pytest.raises(PipelineInputError, match=f"{path} has no column track_id"):
        load_labels(str(path))


def test_fingerprint_does_not_change_when_a_file_is_touched(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    os.utime(folder / "a.json", (0, 0))
    assert fingerprint(str(folder), None) == before


def test_fingerprint_does_not_depend_on_files_that_no_source_reads(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    (folder / "notes.txt").write_text("new")
    assert fingerprint(str(folder), None) == before


def test_fingerprint_changes_with_a_files_content_of_equal_length_and_time(folder: Path) -> None:
    before, path = fingerprint(str(folder), None), folder / "a.json"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(str(folder), None) != before


def test_fingerprint_changes_with_a_new_file(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    write_analysis(folder / "d.json", analysis(3))
    assert fingerprint(str(folder), None) != before


def test_fingerprint_changes_with_a_renamed_file(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    (folder / "a.json").rename(folder / "aa.json")
    assert fingerprint(str(folder), None) != before


def test_fingerprint_changes_when_two_files_swap_their_names(folder: Path) -> None:
    before = fingerprint(str(folder), None)
    (folder / "a.json").rename(folder / "swap")
    (folder / "b.json.gz").rename(folder / "a.json")
    (folder / "swap").rename(folder / "b.json.gz")
    assert fingerprint(str(folder), None) != before


def test_fingerprint_changes_with_the_labels(folder: Path, tmp_path: Path) -> None:
    labels, seen = tmp_path / "labels.csv", {fingerprint(str(folder), None)}
    for genre in ("Rock", "Jazz"):
        labels.write_text(f"track_id,genre\na,{genre}\n")
        seen.add(fingerprint(str(folder), str(labels)))
    assert len(seen) == 3


def test_fingerprint_of_missing_labels_is_refused_naming_them(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=f"{tmp_path / 'labels.csv'}"):
        fingerprint(str(folder), str(tmp_path / "labels.csv"))


def test_dangling_link_is_no_fault_of_the_fingerprint(folder: Path) -> None:
    # Like every file that cannot be read, it is rejected where it is read.
    before = fingerprint(str(folder), None)
    (folder / "link.json").symlink_to(folder / "nowhere")
    assert fingerprint(str(folder), None) != before


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder of an analysis, ``locked.json``, and of ``labels.csv``; both may be read by nobody but root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_analysis(folder / "locked.json", analysis()).chmod(0)
        (folder / "labels.csv").write_text("track_id,genre\n")
        (folder / "labels.csv").chmod(0)
        yield folder


@contextmanager
def _nobody() -> Iterator[None]:
    """Root may read everything, so it steps down."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable_analysis_is_no_fault_of_the_fingerprint(locked: Path) -> None:
    with _nobody():
        assert fingerprint(str(locked), None)


def test_unreadable_analysis_is_rejected(locked: Path) -> None:
    path = str(locked / "locked.json")
    with _nobody():
        (item,) = read_tracks([path], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert "Permission denied" in item.reason


def test_unreadable_labels_are_refused_naming_them(locked: Path) -> None:
    path = str(locked / "labels.csv")
    with _nobody(), pytest.raises(PipelineInputError, match=path):
        load_labels(path)
