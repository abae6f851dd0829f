"""Tests of TrackExampleGen on dumps, archives, overlapping genres, several analysers, and faults of the disk."""

import json
import os
import resource
import signal
import subprocess
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.track_example_gen.catalogue import FILE_ERRORS
from components.track_example_gen.ingest import IngestConfig, ingest_shard, read_tracks
from components.track_example_gen.outcomes import read_outcomes
from components.track_example_gen.progress import Progress
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.labels import GenreNames
from deepmusic_genre.tracks.track import Rejection
from tests.support.ingestion import Run, execute
from tests.support.tracks import GENRES, analysis, write_analysis

TRACKS = 44


def _values(first: int = 0, count: int = TRACKS) -> list[dict[str, Any]]:
    """Analyses of Jazz and Rock in turn."""
    return [
        analysis(seed) | {"track_id": f"T{seed}", "Genre": ("Jazz", "Rock")[seed % 2]}
        for seed in range(first, first + count)
    ]


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _lines(values: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _genres(run: Run) -> Counter[bytes]:
    return Counter(item["genre"][0] for item in run.every_example.values())


def test_seeds_array_brings_its_genres_and_needs_no_ids(tmp_path: Path) -> None:
    values = [{key: value[key] for key in ("Genre", "segments")} for value in _values()]
    _write(tmp_path / "data" / "seed.json", json.dumps(values).encode())
    run = execute(tmp_path, tmp_path / "data", None)
    assert _genres(run) == {b"Jazz": TRACKS // 2, b"Rock": TRACKS // 2}
    # Made again in another order, no track has another id, or stands in another split.
    _write(tmp_path / "again" / "other.json", json.dumps(values[::-1]).encode())
    again = execute(tmp_path / "2", tmp_path / "again", None)
    for split, items in run.examples.items():
        assert {item["track_id"][0] for item in items} == {item["track_id"][0] for item in again.examples[split]}


def test_every_dump_and_archive_is_read_in_one_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    _write(data / "lines.jsonl", _lines(_values()))
    _write(data / "array.json", json.dumps(_values(100, 4)).encode())
    with tarfile.open(data / "a.tar.gz", "w:gz") as archive:
        archive.add(write_analysis(tmp_path / "x.json", analysis(200)), "Metal/x.json")
    with zipfile.ZipFile(data / "a.zip", "w") as packed:
        packed.writestr("hip hop/y.json", json.dumps(analysis(201)))
        packed.writestr("../z.json", json.dumps(analysis(202)))
    run = execute(tmp_path, data, None)
    assert run.count == len(run.every_example) == TRACKS + 6
    assert _genres(run) == {b"Jazz": TRACKS // 2 + 2, b"Rock": TRACKS // 2 + 2, b"Metal": 1, b"Hip-Hop": 1}
    assert [(item["path"], item["reason"]) for item in run.rejections] == [
        (f"{data}/a.zip!/../z.json", "its name leads out of the archive")
    ]
    assert run.summary["read"] == run.count + 1


def test_labels_file_goes_before_the_genre_in_the_file(tmp_path: Path) -> None:
    _write(tmp_path / "data" / "lines.jsonl", _lines(_values()))
    labels = _write(tmp_path / "labels.cls", b"# id, genre\nT0\tMetal\nT1\tMetal\n")
    run = execute(tmp_path, tmp_path / "data", labels)
    assert [run.every_example[track_id]["genre"] for track_id in ("T0", "T1", "T2")] == [
        [b"Metal"],
        [b"Metal"],
        [b"Jazz"],
    ]


# One track, two genres


@pytest.fixture
def overlapping(tmp_path: Path) -> Path:
    """T0 and T1 are in Jazz; T0 is in Rock, too, and twice; T1's content is there under another id, in Jazz."""
    data = tmp_path / "data"
    _write(data / "a.jsonl", _lines(_values()))
    _write(data / "b.jsonl", _lines([_values()[0] | {"Genre": "Rock"}, _values()[0] | {"Genre": "Rock"}]))
    _write(data / "c.jsonl", _lines([_values()[1] | {"track_id": "other"}]))
    return data


@pytest.mark.parametrize(
    ("setting", "genre", "kept_in"),
    [("drop", "", "a.jsonl:1"), ("first", "Jazz", "a.jsonl:1"), ("majority", "Rock", "b.jsonl:1")],
)
def test_setting_decides_on_a_track_in_two_genres(
    tmp_path: Path, overlapping: Path, setting: str, genre: str, kept_in: str
) -> None:
    run = execute(tmp_path, overlapping, None, several_genres=setting, max_rejected_share=0.0)
    assert run.count == len(run.every_example) == TRACKS - (setting == "drop")
    assert ("T0" in run.every_example) == (setting != "drop")
    if genre:
        assert run.every_example["T0"]["genre"] == [genre.encode()]
    assert run.several_genres == [
        {"path": f"{overlapping}/{kept_in}", "track_id": "T0", "genres": ["Jazz", "Rock"], "genre": genre}
    ]
    assert (run.summary["several_genres"], run.summary["repeated"], run.summary["rejected"]) == (1, 3, 0)
    assert "other" not in run.every_example
    assert f"the same content as track T1, {overlapping}/a.jsonl:2" in [item["reason"] for item in run.rejections]


@pytest.mark.parametrize(("setting", "genre"), [("drop", None), ("first", b"Metal"), ("majority", b"Rock")])
def test_setting_decides_on_labels_of_two_genres(tmp_path: Path, setting: str, genre: bytes | None) -> None:
    _write(tmp_path / "data" / "lines.jsonl", _lines(_values()))
    labels = _write(tmp_path / "labels.csv", b"track_id,genre\nT0,Metal\nT0,rock\nT0,Rock\nT1,Jazz\nT1,jazz\n")
    run = execute(tmp_path, tmp_path / "data", labels, several_genres=setting, max_rejected_share=0.0)
    assert run.every_example.get("T0", {}).get("genre") == (genre and [genre])
    assert run.every_example["T1"]["genre"] == [b"Jazz"]
    assert run.summary["several_genres"] == 1


# Analysers


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    _write(tmp_path / "data" / "a.jsonl", _lines(_values()))
    _write(tmp_path / "data" / "b.jsonl", _lines([value | {"analyser": "mine-1"} for value in _values(100, 3)]))
    return tmp_path / "data"


def test_different_analysers_are_refused(tmp_path: Path, mixed: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"44 by echo_nest, 3 by mine-1.*data\.mix_analysers"):
        execute(tmp_path, mixed, None)


def test_different_analysers_are_mixed_if_the_setting_says_so(tmp_path: Path, mixed: Path) -> None:
    run = execute(tmp_path, mixed, None, mix_analysers=1)
    assert run.summary["analysers"] == {"echo_nest": 44, "mine-1": 3}
    assert run.every_example["T101"]["analyser"] == [b"mine-1"]


# The disk


def _shard(folder: Path, paths: list[Path]) -> None:
    ingest_shard(
        [str(path) for path in paths], None, IngestConfig(GENRES, None, (), None, "drop"), str(folder), Progress(1)
    )


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk does: a write that leads beyond ``size`` fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [2000, 40_000])
def test_shard_that_does_not_fit_on_the_disk_is_not_taken_for_whole(tmp_path: Path, size: int) -> None:
    lines = _write(tmp_path / "lines.jsonl", _lines(_values()))
    with _files_no_larger_than(size), pytest.raises(FILE_ERRORS, match=r"[Tt]oo large"):
        _shard(tmp_path / "shard", [lines])
    assert not (tmp_path / "shard").exists()
    _shard(tmp_path / "shard", [lines])
    assert len(read_outcomes(str(tmp_path / "shard"))) == TRACKS


def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    _write(tmp_path / "data" / "lines.jsonl", _lines(_values()))
    with (
        _files_no_larger_than(40_000),
        pytest.raises(PipelineInputError, match="Nothing more can be written") as caught,
    ):
        execute(tmp_path, tmp_path / "data", None)
    assert "\n" not in str(caught.value)
    assert "while running" not in str(caught.value)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("needs to mount a small disk")
    yield folder
    subprocess.run(["/bin/umount", folder], check=True)


def test_shard_on_a_disk_that_is_really_full_is_not_taken_for_whole(tmp_path: Path, full_disk: Path) -> None:
    lines = _write(tmp_path / "lines.jsonl", _lines(_values()))
    with pytest.raises(FILE_ERRORS, match=r"[Nn]o space left"):
        _shard(full_disk / "shard", [lines])
    assert not (full_disk / "shard").exists()


def test_file_that_vanishes_within_a_shard_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    paths = [write_analysis(tmp_path / "Jazz" / f"{number}.json", analysis(number)) for number in range(3)]
    items = read_tracks(map(str, paths), None, GenreNames(GENRES))
    next(items)
    paths[1].unlink()
    gone, last = items
    assert isinstance(gone, Rejection)
    assert (gone.path, "No such file" in gone.reason) == (str(paths[1]), True)
    assert last.track_id == "2"


# Real analyses


@pytest.mark.real_data
def test_million_song_files_in_an_archive_are_those_in_the_folder(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "million_song_h5"
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "msd.tar.gz", "w:gz", compresslevel=1) as archive:
        for path in sorted(source.glob("*.h5")):
            archive.add(path, f"MillionSong/{path.name}")
    labels = source / "labels.csv"
    packed = execute(tmp_path / "packed", tmp_path / "data", labels)
    unpacked = execute(tmp_path / "unpacked", source, labels)
    assert packed.count == unpacked.count > 0
    assert packed.examples == unpacked.examples


@pytest.mark.real_data
def test_spotify_analyses_as_lines_are_those_in_the_folder(tmp_path: Path, real_data: Path) -> None:
    paths = sorted((real_data / "spotify_analysis").glob("*.json"))
    lines = tmp_path / "spotify.jsonl"
    lines.write_bytes(b"".join(json.dumps(json.loads(path.read_bytes())).encode() + b"\n" for path in paths))
    one_by_one = list(read_tracks(map(str, paths), None, GenreNames(GENRES)))
    together = list(read_tracks([str(lines)], None, GenreNames(GENRES)))
    assert len(together) == len(one_by_one) > 0
    for one, other in zip(one_by_one, together, strict=True):
        assert not isinstance(one, Rejection)
        assert not isinstance(other, Rejection)
        assert one.content_digest() == other.content_digest()
