"""Tests of how shards become the examples of a run, and of what they share."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from components.storage.checksums import damage
from components.storage.json_files import read_json
from components.storage.links import link
from components.storage.sizes import size_of
from components.track_example_gen.ingest import IngestConfig, ingest_shard
from components.track_example_gen.outcomes import CHECKSUMS_FILE, EXAMPLES_FILE, read_outcomes
from components.track_example_gen.progress import Progress
from components.track_example_gen.publication import publish_shard
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.store import ShardStore
from tests.support.ingestion import records
from tests.support.tracks import GENRES, analysis, write_analysis

pytestmark = pytest.mark.fast

LETTERS = {"r": "train", "v": "validation", "t": "test", "-": ""}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of nine tracks, 0 to 8."""
    paths = [str(write_analysis(tmp_path / "Jazz" / f"{number}.json", analysis(number))) for number in range(9)]
    folder = tmp_path / "store" / "shard"
    ingest_shard(paths, None, IngestConfig(GENRES, None, (), None, "drop"), str(folder), Progress(1))
    return folder


def _publish(shard: Path, letters: str) -> dict[str, Path]:
    """Publishes a shard with a letter for the split of each track; returns the published files."""
    outcomes = [replace(each, split=LETTERS[letters[int(each.track_id)]]) for each in read_outcomes(str(shard))]
    root = shard.parent.parent / f"run{letters}"
    uris = {split: str(root / split) for split in SPLITS}
    for uri in uris.values():
        Path(uri).mkdir(parents=True)
    publish_shard(str(shard), outcomes, uris, "data")
    return {split: Path(uri) / "data" for split, uri in uris.items()}


def _ids(files: Mapping[str, Path]) -> dict[str, str]:
    return {split: "".join(item["track_id"][0].decode() for item in records(file)) for split, file in files.items()}


def test_each_example_is_published_in_its_split_and_none_that_was_left_out_since(shard: Path) -> None:
    assert _ids(_publish(shard, "rvt-r-rvt")) == {"train": "046", "validation": "17", "test": "28"}


def test_examples_stand_on_the_disk_once_however_many_runs_publish_them(shard: Path) -> None:
    first, second = _publish(shard, "rvt-r-rvt"), {}
    inodes = {file.stat().st_ino for file in shard.iterdir()}
    shutil.rmtree(first["train"].parent.parent)
    second = _publish(shard, "rvt-r-rvt")
    for split, file in second.items():
        assert file.samefile(shard / f"{EXAMPLES_FILE}-{split}")
    assert {file.stat().st_ino for file in shard.iterdir()} == inodes


@pytest.mark.parametrize("then", ["vvt-r-rvt", "rrrrrrrrr", "---------", "rvtrrrrvt"])
def test_other_splits_cut_the_shard_anew_and_leave_what_was_published(shard: Path, then: str) -> None:
    first = _publish(shard, "rvt-r-rvt")
    before = {split: file.read_bytes() for split, file in first.items()}
    again = _ids(_publish(shard, then))
    assert again == {
        split: "".join(str(number) for number, letter in enumerate(then) if LETTERS[letter] == split)
        for split in SPLITS
    }
    assert {split: file.read_bytes() for split, file in first.items()} == before
    assert [path.name for path in shard.parent.iterdir()] == ["shard"]
    # What is left out now may be an example again.
    assert _ids(_publish(shard, "rvtrvtrvt")) == {"train": "036", "validation": "147", "test": "258"}


def test_cut_shard_is_whole(shard: Path) -> None:
    outcomes = read_outcomes(str(shard))
    _publish(shard, "rvt-r-rvt")
    assert read_outcomes(str(shard)) == outcomes
    assert damage(str(shard), read_json(str(shard / CHECKSUMS_FILE), dict[str, str]), alone=False) is None
    ShardStore(str(shard.parent))
    assert shard.is_dir()


def test_what_another_name_keeps_is_not_given_back(shard: Path) -> None:
    published = _publish(shard, "rrrrrrrrr")["train"]
    bytes_of_examples = published.stat().st_size
    assert size_of(str(published.parent)) == 0
    of_shard = size_of(str(shard))
    shutil.rmtree(published.parent)
    assert size_of(str(shard)) == of_shard + bytes_of_examples


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_file_system_without_links_gets_a_copy(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(code, os.strerror(code), source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("text")
    link(str(source), str(target))
    assert target.read_text() == "text"
    assert not target.samefile(source)


def test_name_that_is_there_is_not_taken(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        link(str(tmp_path / "a"), str(tmp_path / "b"))
