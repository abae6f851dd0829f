"""Tests of TrackExampleGen: from files to tf.Examples, splits and a report."""

import csv
import gzip
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.example_gen import utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.artifacts import IngestReport
from components.errors import PipelineInputError
from components.track_example_gen import executor
from components.track_example_gen.catalogue import fingerprint, list_analyses, load_labels
from components.track_example_gen.component import TrackExampleGen
from components.track_example_gen.driver import FingerprintDriver
from components.track_example_gen.executor import Executor
from components.track_example_gen.ingest import (
    IngestConfig,
    Verdict,
    ingest_shard,
    publish_shard,
    read_tracks,
    read_verdicts,
    reject_duplicates,
)
from components.track_example_gen.report import IngestSummary, rejections, require_usable, summarize
from components.track_example_gen.splits import SPLITS, SplitBy, split_of
from sources.labels import GenreNames, Label
from sources.track import SEGMENT_FEATURES, Rejection, Track
from tests.tracks import GENRES, analysis, write_analysis, write_catalogue, write_h5

CONFIG = IngestConfig(GENRES, "artist", None)


def _track(track_id: str = "A", segments: int = 3, seed: int = 0, **texts: Any) -> Track:
    values = np.random.default_rng(seed).random((segments, 24), np.float32)
    return Track(track_id, "audio_analysis", 12.5, values, **texts)


def _features(example: Any) -> dict[str, list[Any]]:
    """A tf.Example's values by feature; a feature that is there without a value is left out."""
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    return {name: list(getattr(example.features.feature[name], kind).value) for name, kind in kinds.items() if kind}


def _matrix(features: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([features[name] for name in SEGMENT_FEATURES], np.float32).T


def _records(path: Path) -> list[dict[str, list[Any]]]:
    dataset = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [_features(tf.train.Example.FromString(record)) for record in dataset]


def _ids(path: Path) -> list[str]:
    return [features["track_id"][0].decode() for features in _records(path)]


def _add_rows(labels: Path, *rows: tuple[str, ...]) -> None:
    with labels.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


# Splits


@pytest.mark.parametrize("split_by", ["artist", "track"])
def test_splits_are_about_8_to_1_to_1(split_by: SplitBy) -> None:
    total = 5000
    tracks = (_track(f"track {number}", 1, artist_id=f"artist {number}") for number in range(total))
    counts = Counter(split_of(track, split_by) for track in tracks)
    assert counts["train"] / total == pytest.approx(0.8, abs=0.02)
    assert counts["validation"] / total == pytest.approx(0.1, abs=0.015)
    assert counts["test"] / total == pytest.approx(0.1, abs=0.015)


def test_split_by_artist_depends_on_the_artist_alone() -> None:
    for number in range(50):
        tracks = [
            _track(f"T{track}", seed=track, artist_id=f"artist {number}", artist=f"{track}") for track in range(5)
        ]
        assert len({split_of(track, "artist") for track in tracks}) == 1


def test_split_by_track_separates_an_artists_tracks() -> None:
    tracks = [_track(f"T{number}", artist_id="1") for number in range(100)]
    assert {split_of(track, "track") for track in tracks} == set(SPLITS)


@pytest.mark.parametrize("known", [{"artist": "Ann"}, {"artist_id": "Ann"}])
def test_artist_is_known_by_id_or_name(known: dict[str, Any]) -> None:
    assert len({split_of(_track(f"T{number}", **known), "artist") for number in range(50)}) == 1


def test_track_of_an_unknown_artist_is_its_own_artist() -> None:
    tracks = [_track(f"T{number}") for number in range(100)]
    assert [split_of(track, "artist") for track in tracks] == [split_of(track, "track") for track in tracks]


def test_splits_stay_the_same_from_version_to_version() -> None:
    # A track that changed its split would have been trained on before it is tested on.
    tracks = [_track(f"T{number}") for number in range(12)]
    others = {track.track_id: split for track in tracks if (split := split_of(track, "track")) != "train"}
    assert others == {"T0": "test", "T6": "test", "T11": "validation"}


# The files of a catalogue


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
    assert list_analyses(str(folder)) == [str(folder / name) for name in expected]


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=f"{tmp_path / 'music'} is not there"):
        list_analyses(str(tmp_path / "music"))


def test_file_as_data_folder_is_refused_for_what_it_is(folder: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"a\.json is not a folder"):
        list_analyses(str(folder / "a.json"))


def test_folder_without_analyses_is_refused_naming_the_endings(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no analysis")
    with pytest.raises(PipelineInputError, match=r"No audio analysis below .*\.json, \.json\.gz, \.h5"):
        list_analyses(str(tmp_path))


def test_file_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.json")).write_text("{}")
    with pytest.raises(PipelineInputError, match="UTF-8"):
        list_analyses(str(folder))


def test_link_back_to_the_folder_lists_no_file_twice(folder: Path) -> None:
    before = list_analyses(str(folder))
    for name in ("loop", "a loop beside it"):
        (folder / name).symlink_to(folder)
    assert list_analyses(str(folder)) == before


@pytest.mark.parametrize(("one", "other"), [("The Band", "the  BAND "), ("Bj\u00f6rk", "BJ\u00d6RK")])
def test_an_artist_is_one_however_the_name_is_written(one: str, other: str) -> None:
    tracks = [Track("t", "s", 1.0, np.ones((1, 24), np.float32), artist=name) for name in (one, other)]
    assert tracks[0].artist_key == tracks[1].artist_key


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
        ((_, item),) = read_tracks([path], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert "Permission denied" in item.reason


def test_unreadable_labels_are_refused_naming_them(locked: Path) -> None:
    path = str(locked / "labels.csv")
    with _nobody(), pytest.raises(PipelineInputError, match=path):
        load_labels(path)


# Reading and labelling


@pytest.mark.parametrize("name", ["x.json", "x.h5", "x.json.gz"])
def test_path_that_is_a_folder_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    ((path, item),) = read_tracks([str(tmp_path / name)], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert item.path == path == str(tmp_path / name)
    assert "cannot be read" in item.reason
    assert "directory" in item.reason


def test_file_that_vanished_is_rejected(tmp_path: Path) -> None:
    ((_, item),) = read_tracks([str(tmp_path / "x.json")], None, GenreNames(GENRES))
    assert isinstance(item, Rejection)
    assert "No such file" in item.reason


@pytest.mark.parametrize(
    ("name", "track_id"),
    [
        ("a.json", "a"),
        ("a.json.gz", "a"),
        ("A.JSON", "A"),
        ("a.b.json", "a.b"),
        ("mix.json.live.json", "mix.json.live"),
    ],
)
def test_track_without_an_id_is_called_by_its_files_name(tmp_path: Path, name: str, track_id: str) -> None:
    ((_, item),) = read_tracks([str(write_analysis(tmp_path / name, analysis()))], None, GenreNames(GENRES))
    assert item.track_id == track_id


def test_label_is_found_by_the_id_in_the_file(tmp_path: Path) -> None:
    path = write_analysis(tmp_path / "name.json", analysis() | {"track_id": "inside"})
    labels = {"inside": Label("rock", "inside"), "name": Label("Jazz", "name")}
    ((_, item),) = read_tracks([str(path)], labels, GenreNames(GENRES))
    assert isinstance(item, Track)
    assert (item.track_id, item.genre) == ("inside", "Rock")


# A shard


def _shard(tmp_path: Path, paths: list[Path], name: str = "shard") -> Path:
    ingest_shard([str(path) for path in paths], None, CONFIG, str(tmp_path / name))
    return tmp_path / name


def _jazz(tmp_path: Path, count: int) -> list[Path]:
    folder = tmp_path / "Jazz"
    return [write_analysis(folder / f"{number}.json", analysis(number)) for number in range(count)]


def test_shard_has_a_verdict_a_track_in_order(tmp_path: Path) -> None:
    paths = _jazz(tmp_path, 5)
    paths[1].write_bytes(b"garbage")
    paths.append(write_analysis(tmp_path / "unlabelled.json", analysis(9)))
    verdicts = read_verdicts(str(_shard(tmp_path, paths)))
    assert [verdict.path for verdict in verdicts] == list(map(str, paths))
    assert [verdict.genre for verdict in verdicts] == ["Jazz", "", "Jazz", "Jazz", "Jazz", ""]
    assert [bool(verdict.reason) for verdict in verdicts] == [False, True, False, False, False, False]


def test_shards_records_stand_where_the_verdicts_say(tmp_path: Path) -> None:
    # More than the encoder takes at once.
    shard = _shard(tmp_path, _jazz(tmp_path, 70))
    ids = {split: _ids(shard / split) for split in SPLITS}
    verdicts = read_verdicts(str(shard))
    assert [ids[verdict.split][verdict.index] for verdict in verdicts] == [verdict.track_id for verdict in verdicts]
    assert sum(map(len, ids.values())) == 70


def test_whole_shard_is_not_read_again(tmp_path: Path) -> None:
    paths = _jazz(tmp_path, 3)
    before = read_verdicts(str(_shard(tmp_path, paths)))
    for path in paths:
        path.unlink()
    assert read_verdicts(str(_shard(tmp_path, paths))) == before


def test_interrupted_shard_is_read_again(tmp_path: Path) -> None:
    left = tmp_path / "shard.part"
    left.mkdir()
    (left / "verdicts.jsonl").write_bytes(b'{"path": "hal')
    assert len(read_verdicts(str(_shard(tmp_path, _jazz(tmp_path, 3))))) == 3
    assert not left.exists()


# Duplicates

EXAMPLE = Verdict("a.json", "A", split="train", index=0, genre="Jazz", digest="1")


def test_first_of_two_tracks_with_one_id_stays() -> None:
    again = Verdict("b.json", "A", split="train", index=1, genre="Jazz", digest="1")
    first, second = reject_duplicates([EXAMPLE, again])
    assert first == EXAMPLE
    assert (second.path, second.track_id, second.split) == ("b.json", "A", "")


@pytest.mark.parametrize(("digest", "content"), [("1", "the same content"), ("2", "other content")])
def test_reason_tells_whether_the_content_is_the_same(digest: str, content: str) -> None:
    again = Verdict("b.json", "A", split="test", index=0, genre="Jazz", digest=digest)
    _, second = reject_duplicates([EXAMPLE, again])
    assert second.reason == f"track id A again, with {content} as a.json"


def test_third_one_is_compared_with_the_first() -> None:
    others = [Verdict(f"{digest}.json", "A", split="test", index=0, digest=digest) for digest in "21"]
    _, _, third = reject_duplicates([EXAMPLE, *others])
    assert third.reason == "track id A again, with the same content as a.json"


@pytest.mark.parametrize("other", [Verdict("b.json", "A"), Verdict("b.json", "A", reason="damaged")])
def test_track_that_is_no_example_is_no_duplicate(other: Verdict) -> None:
    assert list(reject_duplicates([EXAMPLE, other])) == [EXAMPLE, other]
    assert list(reject_duplicates([other, EXAMPLE])) == [other, EXAMPLE]


def test_equal_content_under_another_id_is_no_duplicate() -> None:
    other = Verdict("b.json", "B", split="train", index=1, genre="Jazz", digest="1")
    assert list(reject_duplicates([EXAMPLE, other])) == [EXAMPLE, other]


def test_publishing_leaves_out_what_was_rejected_since(tmp_path: Path) -> None:
    shard = _shard(tmp_path, _jazz(tmp_path, 40))
    verdicts = read_verdicts(str(shard))
    rejected = {verdict.track_id for verdict in verdicts if verdict.split == "train"} & {"1", "2", "3", "20", "21"}
    assert rejected
    remaining = [Verdict(item.path, item.track_id, "no") if item.track_id in rejected else item for item in verdicts]
    before = {split: _ids(shard / split) for split in SPLITS}
    split_uri = {split: str(tmp_path / f"out-{split}") for split in SPLITS}
    for uri in split_uri.values():
        Path(uri).mkdir()
    publish_shard(str(shard), remaining, split_uri, "data")
    after = {split: _ids(Path(uri) / "data") for split, uri in split_uri.items()}
    assert after == {split: [item for item in ids if item not in rejected] for split, ids in before.items()}


# The report


def _summary(
    train: int = 8, validation: int = 1, test: int = 1, unlabelled: int = 0, rejected: int = 0
) -> IngestSummary:
    counts = zip(SPLITS, (train, validation, test), strict=True)
    examples = {
        split: {genre: tracks for genre, tracks in (("Jazz", count - count // 2), ("Blues", count // 2)) if tracks}
        for split, count in counts
    }
    return IngestSummary(examples, dict.fromkeys(SPLITS, 1), unlabelled, rejected)


def _refusal(summary: IngestSummary, share: float = 0.05, split_by: SplitBy = "artist") -> str:
    rejected = [Rejection(f"{number}.json", f"reason {number}") for number in range(summary.rejected)]
    with pytest.raises(PipelineInputError) as caught:
        require_usable(summary, rejected, share, split_by)
    return str(caught.value)


def test_summary_counts_what_became_of_each_track() -> None:
    verdicts = [
        Verdict("1", "1", split="train", index=0, genre="Jazz", artist="Ann"),
        Verdict("2", "2", split="train", index=1, genre="Jazz", artist="Ann"),
        Verdict("3", "3", split="train", index=2, genre="Blues"),
        Verdict("4", "4", split="test", index=0, genre="Rock", artist="Bob"),
        Verdict("5", "5"),
        Verdict("6", "6", "damaged"),
        Verdict("7", "", "damaged"),
    ]
    summary = summarize(verdicts)
    assert summary.examples == {"train": {"Blues": 1, "Jazz": 2}, "validation": {}, "test": {"Rock": 1}}
    assert summary.artists == {"train": 1, "validation": 0, "test": 1}
    assert summary.tracks == {"train": 3, "validation": 0, "test": 1}
    assert (summary.unlabelled, summary.rejected) == (1, 2)
    assert str(summary) == "4 tracks: 3 train, 0 validation, 1 test; 1 unlabelled, 2 rejected"


def test_rejections_are_those_with_a_reason() -> None:
    verdicts = [EXAMPLE, Verdict("b", "B", "damaged"), Verdict("c", "C")]
    assert rejections(verdicts) == [Rejection("b", "damaged", "B")]


@pytest.mark.parametrize(("rejected", "share"), [(0, 0.0), (10, 0.5), (90, 0.9)])
def test_share_of_rejections_up_to_the_limit_is_usable(rejected: int, share: float) -> None:
    require_usable(_summary(rejected=rejected), [], share, "artist")


def test_share_of_exactly_the_limit_is_usable() -> None:
    # 0.29 * 100 is 28.999999999999996.
    require_usable(_summary(train=69, rejected=29), [], 0.29, "artist")


def test_too_many_rejections_are_refused_naming_the_first_and_the_setting() -> None:
    message = _refusal(_summary(rejected=7))
    assert message.startswith("7 of 17 tracks were rejected, more than data.max_rejected_share = 5% allows:")
    assert [f"{number}.json: reason {number}" in message for number in range(7)] == [True] * 5 + [False] * 2
    assert "and 2 more" in message


def test_few_rejections_are_all_named() -> None:
    message = _refusal(_summary(rejected=3))
    assert message.count(".json: reason") == 3
    assert "more, all in the log" not in message


def test_small_limit_is_named_as_it_was_set() -> None:
    message = _refusal(_summary(rejected=3), share=0.005)
    assert "0.005" in message or "0.5%" in message


def test_unlabelled_tracks_do_not_count_as_rejected() -> None:
    require_usable(_summary(unlabelled=1000), [], 0.0, "artist")


def test_no_labelled_track_is_refused_naming_labels_and_folders() -> None:
    message = _refusal(_summary(0, 0, 0, unlabelled=12))
    assert "None of the 12 tracks has a genre" in message
    assert "labels file" in message
    assert "folder" in message


def test_rejection_of_every_track_is_not_taken_for_missing_labels() -> None:
    message = _refusal(_summary(0, 0, 0, rejected=12), share=1.0)
    assert "rejected" in message
    assert "0.json: reason 0" in message


def test_empty_split_by_artist_is_refused_with_both_remedies() -> None:
    message = _refusal(_summary(validation=0, test=0))
    assert "No track falls into the split validation and test: 8 tracks" in message
    assert "Bring more, or set data.split_by to track." in message


def test_one_genre_only_is_refused_before_anything_is_trained() -> None:
    summary = IngestSummary({"train": {"Jazz": 30}, "validation": {"Jazz": 4}, "test": {"Blues": 2}}, {}, 0, 0)
    assert _refusal(summary) == (
        "All 30 training tracks are Jazz: there is nothing to tell apart. Bring tracks of other genres."
    )


def test_empty_split_by_track_is_refused_without_the_remedy_taken() -> None:
    message = _refusal(_summary(test=0), split_by="track")
    assert "the split test: 9 tracks" in message
    assert "data.split_by" not in message


# The executor


@dataclass(frozen=True)
class _Run:
    examples: dict[str, list[dict[str, list[Any]]]]
    summary: dict[str, Any]
    rejections: list[dict[str, str]]
    contents: dict[str, bytes]

    @property
    def every_example(self) -> dict[str, dict[str, list[Any]]]:
        """Examples by track id; an id that stood there twice would make it smaller than the count."""
        return {item["track_id"][0].decode(): item for items in self.examples.values() for item in items}

    @property
    def count(self) -> int:
        return sum(map(len, self.examples.values()))


def _execute(root: Path, data: Path, labels: Path | None, **properties: Any) -> _Run:
    """Runs the real executor; what it writes goes below ``root``."""
    examples, report = standard_artifacts.Examples(), IngestReport()
    examples.uri, report.uri = str(root / "examples"), str(root / "report")
    for folder in ("examples", "report", "tmp"):
        (root / folder).mkdir(parents=True)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    defaults = {
        "data": str(data),
        "labels": str(labels) if labels else None,
        "genres": json.dumps(GENRES),
        "split_by": "artist",
        "max_segments": None,
        "max_rejected_share": 0.05,
        "code_version": "tests",
    }
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, defaults | properties)
    assert json.loads(examples.split_names) == list(SPLITS)
    lines = (root / "report" / "rejections.jsonl").read_text(encoding="utf-8").splitlines()
    written = [path for name in ("examples", "report") for path in sorted((root / name).rglob("*")) if path.is_file()]
    return _Run(
        examples={
            split: [
                item for file in sorted((root / "examples" / f"Split-{split}").iterdir()) for item in _records(file)
            ]
            for split in SPLITS
        },
        summary=json.loads((root / "report" / "summary.json").read_bytes()),
        rejections=[json.loads(line) for line in lines],
        contents={str(path.relative_to(root)): path.read_bytes() for path in written},
    )


@pytest.fixture
def spoiled(tmp_path: Path) -> tuple[Path, Path]:
    """A catalogue of 20 tracks, one with an impossible pitch, one truncated, one of an unknown genre."""
    data, labels = write_catalogue(tmp_path / "catalogue", 20, tracks_per_artist=1)
    pitched = analysis(0)
    pitched["segments"][3]["pitches"][4] = 1.7
    write_analysis(data / "track-000.json.gz", pitched)
    truncated = data / "track-001.json.gz"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    text = labels.read_text(encoding="utf-8")
    labels.write_text(text.replace("Title 2,Country", "Title 2,Polka"), encoding="utf-8")
    return data, labels


def test_good_tracks_go_on_and_bad_ones_are_listed_with_reasons(tmp_path: Path, spoiled: tuple[Path, Path]) -> None:
    run = _execute(tmp_path, *spoiled, max_rejected_share=0.2)
    assert run.count == len(run.every_example) == 17
    reasons = {Path(item["path"]).name: item["reason"] for item in run.rejections}
    assert reasons.keys() == {f"track-00{number}.json.gz" for number in range(3)}
    assert reasons["track-000.json.gz"] == "segments[3].pitches[4] = 1.7 is outside [0, 1]"
    assert "truncated" in reasons["track-001.json.gz"]
    assert "'Polka' is not in the genre list" in reasons["track-002.json.gz"]
    assert run.summary["rejected"] == 3


def test_too_many_bad_tracks_stop_the_run_naming_them(tmp_path: Path, spoiled: tuple[Path, Path]) -> None:
    with pytest.raises(PipelineInputError, match="3 of 20 tracks were rejected") as caught:
        _execute(tmp_path, *spoiled, max_rejected_share=0.05)
    for part in ("track-000.json.gz: segments[3]", "track-001.json.gz: truncated", "track-002.json.gz: genre 'Polka'"):
        assert part in str(caught.value)


def test_stopped_run_leaves_no_examples(tmp_path: Path, spoiled: tuple[Path, Path]) -> None:
    with pytest.raises(PipelineInputError):
        _execute(tmp_path, *spoiled, max_rejected_share=0.05)
    assert list((tmp_path / "examples").rglob("data*")) == []


def test_no_artist_stands_in_two_splits(tmp_path: Path) -> None:
    run = _execute(tmp_path, *write_catalogue(tmp_path / "catalogue", 60, tracks_per_artist=3))
    splits: dict[bytes, list[str]] = {}
    for split, examples in run.examples.items():
        for item in examples:
            splits.setdefault(item["artist_id"][0], []).append(split)
    assert len(splits) == 20
    assert all(len(found) == 3 and len(set(found)) == 1 for found in splits.values())


def test_summary_says_what_was_written(tmp_path: Path) -> None:
    run = _execute(tmp_path, *write_catalogue(tmp_path / "catalogue"))
    for split, examples in run.examples.items():
        assert run.summary["examples"][split] == Counter(item["genre"][0].decode() for item in examples)
        assert run.summary["artists"][split] == len({item["artist_id"][0] for item in examples})
    assert (run.summary["unlabelled"], run.summary["rejected"]) == (0, 0)


def test_every_form_of_analysis_is_read_in_one_folder(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 20, tracks_per_artist=1)
    write_analysis(data / "plain.json", analysis(50) | {"track_id": "inside"})
    write_h5(data / "sub" / "aggregate.h5", ["H0", "H1"])
    _add_rows(labels, *((track_id, "", "", "", "jazz") for track_id in ("inside", "H0", "H1")))
    run = _execute(tmp_path, data, labels)
    found = run.every_example
    assert run.count == len(found) == 23
    assert Counter(item["source"][0] for item in found.values()) == {b"audio_analysis": 21, b"million_song": 2}
    assert found["H1"]["artist_id"] == [b"AR00001"]
    for track_id, seed in (("inside", 50), ("H0", 0), ("H1", 1)):
        expected = [segment["timbre"] + segment["pitches"] for segment in analysis(seed)["segments"]]
        np.testing.assert_array_equal(_matrix(found[track_id]), np.array(expected, np.float32))
        assert found[track_id]["genre"] == [b"Jazz"]


def test_genres_come_from_the_folders_without_a_labels_file(tmp_path: Path) -> None:
    for number in range(24):
        write_analysis(tmp_path / "data" / ("hip_hop" if number % 2 else "Jazz") / f"{number}.json", analysis(number))
    write_analysis(tmp_path / "data" / "Polka" / "none.json", analysis(99))
    run = _execute(tmp_path, tmp_path / "data", None)
    assert Counter(item["genre"][0] for item in run.every_example.values()) == {b"Jazz": 12, b"Hip-Hop": 12}
    assert (run.summary["unlabelled"], run.summary["rejected"]) == (1, 0)


def test_unlabelled_tracks_are_left_out_and_counted(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 20, tracks_per_artist=1)
    write_analysis(data / "not in the file.json", analysis(50))
    write_analysis(data / "empty genre.json", analysis(51))
    _add_rows(labels, ("empty genre", "", "", "", ""))
    run = _execute(tmp_path, data, labels, max_rejected_share=0.0)
    assert run.count == 20
    assert run.summary["unlabelled"] == 2


def test_max_segments_bounds_what_is_written(tmp_path: Path) -> None:
    run = _execute(tmp_path, *write_catalogue(tmp_path / "catalogue", 22), max_segments=5)
    assert {(len(item["timbre_01"]), item["num_segments"][0]) for item in run.every_example.values()} == {(5, 20)}


def test_folder_that_is_called_like_an_analysis_is_no_fault(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 22)
    (data / "x.json").mkdir()
    run = _execute(tmp_path, data, labels, max_rejected_share=0.0)
    assert (run.count, run.rejections) == (22, [])


def test_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 22)
    labels.unlink()
    with pytest.raises(PipelineInputError, match=f"{labels}"):
        _execute(tmp_path, data, labels)


def test_small_catalogue_by_one_artist_is_refused_with_a_remedy(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 4, tracks_per_artist=4)
    with pytest.raises(PipelineInputError, match=r"4 tracks of 1 artists.*set data\.split_by to track"):
        _execute(tmp_path, data, labels)


def test_same_input_gives_the_same_examples_and_report(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue")
    first = _execute(tmp_path / "first", data, labels)
    assert replace(_execute(tmp_path / "second", data, labels), contents={}) == replace(first, contents={})


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue")
    first = _execute(tmp_path / "first", data, labels)
    assert _execute(tmp_path / "second", data, labels).contents == first.contents
    assert any("Split-train" in name for name in first.contents)


@pytest.fixture
def repeated(tmp_path: Path) -> tuple[Path, Path]:
    """22 tracks, the first of which is there once more; the second one's id is there again with other content."""
    data, labels = write_catalogue(tmp_path / "catalogue", 22)
    write_analysis(
        data / "zz" / "track-000.json", json.loads(gzip.decompress((data / "track-000.json.gz").read_bytes()))
    )
    write_analysis(data / "zz" / "track-001.json", analysis(99))
    return data, labels


def test_repeated_tracks_are_rejected_and_the_first_stays(tmp_path: Path, repeated: tuple[Path, Path]) -> None:
    data, labels = repeated
    run = _execute(tmp_path, data, labels, max_rejected_share=0.2)
    assert run.count == len(run.every_example) == 22
    assert {item["path"]: item["reason"] for item in run.rejections} == {
        str(data / "zz" / f"track-00{number}.json"): f"track id track-00{number} again, with {content} as"
        f" {data / f'track-00{number}.json.gz'}"
        for number, content in ((0, "the same content"), (1, "other content"))
    }


def test_result_does_not_depend_on_the_size_of_a_shard(
    tmp_path: Path, repeated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _execute(tmp_path / "whole", *repeated, max_rejected_share=0.2)
    monkeypatch.setattr(executor, "_FILES_A_SHARD", 5)
    parts = _execute(tmp_path / "parts", *repeated, max_rejected_share=0.2)
    assert len(parts.contents) > len(whole.contents)
    assert replace(parts, contents={}) == replace(whole, contents={})


# The component


def test_component_publishes_examples_and_a_report() -> None:
    component = TrackExampleGen("/data", "/labels.csv", GENRES, "artist", 512, 0.05, "v1")
    types = {name: channel.type for name, channel in component.outputs.items()}
    assert types == {"examples": standard_artifacts.Examples, "report": IngestReport}


def test_component_hands_its_settings_to_the_executor() -> None:
    component = TrackExampleGen("/data", None, ["Rock", "Hip-Hop"], "track", None, 0.2, "v1")
    assert json.loads(component.exec_properties["genres"]) == ["Rock", "Hip-Hop"]
    assert {name: value for name, value in component.exec_properties.items() if name != "genres"} == {
        "data": "/data",
        "labels": None,
        "split_by": "track",
        "max_segments": None,
        "max_rejected_share": 0.2,
        "code_version": "v1",
    }


def test_driver_makes_the_content_part_of_the_cache_key(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path, 2)
    properties = {"data": str(data), "labels": str(labels), "split_by": "artist"}
    resolved = FingerprintDriver(None).resolve_exec_properties(dict(properties), None, None)
    assert resolved.items() >= properties.items()
    assert resolved[utils.FINGERPRINT_PROPERTY_NAME] == fingerprint(str(data), str(labels))


def test_driver_refuses_data_that_is_not_there(tmp_path: Path) -> None:
    properties = {"data": str(tmp_path / "music"), "labels": None}
    with pytest.raises(PipelineInputError, match="music is not there"):
        FingerprintDriver(None).resolve_exec_properties(properties, None, None)


def test_genres_that_a_split_lacks_are_told() -> None:
    summary = IngestSummary({"train": {"Jazz": 3, "Rock": 1}, "validation": {}, "test": {"Rock": 1}}, {}, 0, 0)
    assert summary.gaps(["Jazz", "Rock"]) == ["no track of Jazz, Rock in validation", "no track of Jazz in test"]
