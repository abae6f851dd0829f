"""Tests of TrackExampleGen: from files to tf.Examples, splits and a report."""

import csv
import gzip
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfx.components.example_gen import utils
from tfx.types import standard_artifacts

from components.artifacts import IngestReport
from components.track_example_gen import chunks, known_files
from components.track_example_gen.component import TrackExampleGen
from components.track_example_gen.cores import Work, readers_for
from components.track_example_gen.driver import FingerprintDriver
from components.track_example_gen.spans import Span, fingerprint_of
from components.track_example_gen.store import Shard
from deepmusic_genre.errors import PipelineInputError
from tests.support.ingestion import IN_PROCESS, execute, matrix
from tests.support.tracks import GENRES, analysis, write_analysis, write_catalogue, write_h5


def _add_rows(labels: Path, *rows: tuple[str, ...]) -> None:
    with labels.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


# The executor


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
    run = execute(tmp_path, *spoiled, max_rejected_share=0.2)
    assert run.count == len(run.every_example) == 17
    reasons = {Path(item["path"]).name: item["reason"] for item in run.rejections}
    assert reasons.keys() == {f"track-00{number}.json.gz" for number in range(3)}
    assert reasons["track-000.json.gz"] == "segments[3].pitches[4] = 1.7 is outside [0, 1]"
    assert "truncated" in reasons["track-001.json.gz"]
    assert "'Polka' is not in the genre list" in reasons["track-002.json.gz"]
    assert (run.summary["rejected"], run.summary["other_genres"]) == (2, {"Polka": 1})


@pytest.mark.parametrize(("other_genres", "bad"), [("leave_out", 2), ("reject", 3)])
def test_too_many_bad_tracks_stop_the_run_naming_them(
    tmp_path: Path, spoiled: tuple[Path, Path], other_genres: str, bad: int
) -> None:
    with pytest.raises(PipelineInputError, match=f"{bad} of 20 tracks were rejected") as caught:
        execute(tmp_path, *spoiled, max_rejected_share=0.05, other_genres=other_genres)
    parts = ("track-000.json.gz: segments[3]", "track-001.json.gz: truncated", "track-002.json.gz: genre 'Polka'")
    assert [part in str(caught.value) for part in parts] == [number < bad for number in range(3)]


def test_other_genres_stop_no_run(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 60, tracks_per_artist=1)
    labels.write_text(labels.read_text(encoding="utf-8").replace(",Country", ",Polka"), encoding="utf-8")
    run = execute(tmp_path, data, labels, max_rejected_share=0)
    others = run.summary["other_genres"]["Polka"]
    assert others > 0
    assert run.count == 60 - others


def test_splits_that_were_given_stay(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 60, tracks_per_artist=2)
    first = execute(tmp_path / "first", data, labels, splits=str(tmp_path / "splits"))
    for path in sorted(data.iterdir())[::7]:
        path.unlink()
    second = execute(tmp_path / "second", data, labels, splits=str(tmp_path / "splits"))
    assert 0 < second.count < 60
    for split, examples in second.examples.items():
        before = {example["track_id"][0] for example in first.examples[split]}
        assert {example["track_id"][0] for example in examples} <= before


def test_stopped_run_leaves_no_examples(tmp_path: Path, spoiled: tuple[Path, Path]) -> None:
    with pytest.raises(PipelineInputError):
        execute(tmp_path, *spoiled, max_rejected_share=0.05)
    assert list((tmp_path / "examples").rglob("data*")) == []


def test_no_artist_stands_in_two_splits(tmp_path: Path) -> None:
    run = execute(tmp_path, *write_catalogue(tmp_path / "catalogue", 60, tracks_per_artist=3))
    splits: dict[bytes, list[str]] = {}
    for split, examples in run.examples.items():
        for item in examples:
            splits.setdefault(item["artist_id"][0], []).append(split)
    assert len(splits) == 20
    assert all(len(found) == 3 and len(set(found)) == 1 for found in splits.values())


def test_summary_says_what_was_written(tmp_path: Path) -> None:
    run = execute(tmp_path, *write_catalogue(tmp_path / "catalogue"))
    for split, examples in run.examples.items():
        assert run.summary["examples"][split] == Counter(item["genre"][0].decode() for item in examples)
        assert run.summary["artists"][split] == len({item["artist_id"][0] for item in examples})
    assert (run.summary["unlabelled"], run.summary["rejected"]) == (0, 0)


def test_every_form_of_analysis_is_read_in_one_folder(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 20, tracks_per_artist=1)
    write_analysis(data / "plain.json", analysis(50) | {"track_id": "inside"})
    write_h5(data / "sub" / "aggregate.h5", ["H0", "H1"])
    _add_rows(labels, *((track_id, "", "", "", "jazz") for track_id in ("inside", "H0", "H1")))
    run = execute(tmp_path, data, labels)
    found = run.every_example
    assert run.count == len(found) == 23
    assert Counter(item["source"][0] for item in found.values()) == {b"audio_analysis": 21, b"million_song": 2}
    assert found["H1"]["artist_id"] == [b"AR00001"]
    for track_id, seed in (("inside", 50), ("H0", 0), ("H1", 1)):
        expected = [segment["timbre"] + segment["pitches"] for segment in analysis(seed)["segments"]]
        np.testing.assert_array_equal(matrix(found[track_id]), np.array(expected, np.float32))
        assert found[track_id]["genre"] == [b"Jazz"]


def test_genres_come_from_the_folders_without_a_labels_file(tmp_path: Path) -> None:
    for number in range(24):
        write_analysis(tmp_path / "data" / ("hip_hop" if number % 2 else "Jazz") / f"{number}.json", analysis(number))
    write_analysis(tmp_path / "data" / "Polka" / "none.json", analysis(99))
    run = execute(tmp_path, tmp_path / "data", None)
    assert Counter(item["genre"][0] for item in run.every_example.values()) == {b"Jazz": 12, b"Hip-Hop": 12}
    assert (run.summary["unlabelled"], run.summary["rejected"]) == (1, 0)


def test_unlabelled_tracks_are_left_out_and_counted(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 20, tracks_per_artist=1)
    write_analysis(data / "not in the file.json", analysis(50))
    write_analysis(data / "empty genre.json", analysis(51))
    _add_rows(labels, ("empty genre", "", "", "", ""))
    run = execute(tmp_path, data, labels, max_rejected_share=0.0)
    assert run.count == 20
    assert run.summary["unlabelled"] == 2


def test_labels_that_fit_several_tracks_or_none_label_nothing_and_are_listed(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue")
    for folder, number in (("x", 900), ("y", 901)):
        write_analysis(data / folder / "twin.json", analysis(number))
    before = len(labels.read_text().splitlines())
    with labels.open("a") as file:
        file.write("twin.json,Jazz\nnowhere,Jazz\n")
    run = execute(tmp_path, data, labels)
    assert run.summary["unlabelled"] == 2
    assert (run.summary["labels_without_track"], run.summary["labels_in_doubt"]) == (1, 1)
    assert [(row["line"], row["track"], row["fits"]) for row in run.unmatched_labels] == [
        (before + 1, "twin.json", 2),
        (before + 2, "nowhere", 0),
    ]


def test_max_segments_bounds_what_is_written(tmp_path: Path) -> None:
    run = execute(tmp_path, *write_catalogue(tmp_path / "catalogue", 22), max_segments=5)
    assert {(len(item["timbre_01"]), item["num_segments"][0]) for item in run.every_example.values()} == {(5, 20)}


def test_folder_that_is_called_like_an_analysis_is_no_fault(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 22)
    (data / "x.json").mkdir()
    run = execute(tmp_path, data, labels, max_rejected_share=0.0)
    assert (run.count, run.rejections) == (22, [])


def test_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 22)
    labels.unlink()
    with pytest.raises(PipelineInputError, match=f"{labels}"):
        execute(tmp_path, data, labels)


def test_small_catalogue_by_one_artist_is_refused_with_a_remedy(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 4, tracks_per_artist=4)
    with pytest.raises(PipelineInputError, match=r"4 tracks of 1 known artist,.*set data\.split_by to track"):
        execute(tmp_path, data, labels)


def test_same_input_gives_the_same_examples_and_report(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue")
    first = execute(tmp_path / "first", data, labels)
    assert replace(execute(tmp_path / "second", data, labels), contents={}) == replace(first, contents={})


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue")
    first = execute(tmp_path / "first", data, labels)
    assert execute(tmp_path / "second", data, labels).contents == first.contents
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
    run = execute(tmp_path, data, labels, max_rejected_share=0.2)
    assert run.count == len(run.every_example) == 22
    assert {item["path"]: item["reason"] for item in run.rejections} == {
        str(data / "zz" / f"track-00{number}.json"): f"track id track-00{number} again, with {content} as"
        f" {data / f'track-00{number}.json.gz'}"
        for number, content in ((0, "the same content"), (1, "other content"))
    }


def test_result_does_not_depend_on_the_size_of_a_shard(
    tmp_path: Path, repeated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(tmp_path / "whole", *repeated, max_rejected_share=0.2)
    monkeypatch.setattr(chunks, "_FILES_A_CHUNK", 5)
    parts = execute(tmp_path / "parts", *repeated, max_rejected_share=0.2)
    assert len(parts.contents) > len(whole.contents)
    assert replace(parts, contents={}) == replace(whole, contents={})


def test_result_does_not_depend_on_who_reads(
    tmp_path: Path, repeated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_FILES_A_CHUNK", 3)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    forks = execute(tmp_path / "forks", *repeated, max_rejected_share=0.2)
    beam = execute(tmp_path / "beam", *repeated, [*IN_PROCESS, "--direct_num_workers=1"], max_rejected_share=0.2)
    assert forks == beam


def test_all_cores_read_what_is_on_this_machine_and_no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)), raising=False)

    def work(parts: int, path: str = "/data/a.json", folder: str = "/store/part") -> list[Work]:
        return [(folder, Shard("key", (path,), None))] * parts

    assert readers_for(work(4), IN_PROCESS) == 3 * (sys.platform == "linux")
    assert readers_for(work(3), IN_PROCESS) == 0
    assert readers_for(work(4, path="/data/a.MP3"), IN_PROCESS) == 0
    assert readers_for(work(4, path="gs://data/a.json"), IN_PROCESS) == 0
    assert readers_for(work(4, folder="gs://store/part"), IN_PROCESS) == 0
    assert readers_for(work(4), ["--runner=FlinkRunner"]) == 0
    assert readers_for(work(4), [*IN_PROCESS, "--direct_num_workers=2"]) == 0


def test_columns_of_the_labels_file_are_those_that_settings_name(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path, tracks=12)
    header, rows = labels.read_text().split("\n", 1)
    labels.write_text(header.replace("genre", "style").replace("artist_id", "who") + "\n" + rows)
    columns = json.dumps({"genre": "style", "artist_id": "who"})
    run = execute(tmp_path / "run", data, labels, label_columns=columns)
    assert run.count == 12
    assert {example["artist_id"][0] for example in run.every_example.values()} == {b"band-%03d" % n for n in range(6)}


# The component


def _component(**settings: Any) -> TrackExampleGen:
    defaults: dict[str, Any] = {
        "data": "/data",
        "labels": None,
        "label_columns": {},
        "spans": None,
        "store": "/store",
        "splits": "/splits",
        "genres": GENRES,
        "other_genres": "leave_out",
        "genre_names": {},
        "unknown_artists": ["?"],
        "split_by": "artist",
        "max_segments": None,
        "max_rejected_share": 0.05,
        "several_genres": "drop",
        "mix_analysers": False,
        "trust_times": False,
        "middle": None,
        "pretrained": "auto",
        "code_version": "v1",
    }
    return TrackExampleGen(**(defaults | settings))


def test_component_publishes_examples_and_a_report() -> None:
    component = _component(labels="/labels.csv")
    types = {name: channel.type for name, channel in component.outputs.items()}
    assert types == {"examples": standard_artifacts.Examples, "report": IngestReport}


def test_component_hands_its_settings_to_the_executor() -> None:
    component = _component(genres=["Rock", "Hip-Hop"], split_by="track", max_rejected_share=0.2, mix_analysers=True)
    assert json.loads(component.exec_properties["genres"]) == ["Rock", "Hip-Hop"]
    assert {name: value for name, value in component.exec_properties.items() if name != "genres"} == {
        "data": "/data",
        "labels": None,
        "label_columns": "{}",
        "spans": None,
        "store": "/store",
        "splits": "/splits",
        "other_genres": "leave_out",
        "genre_names": "{}",
        "unknown_artists": '["?"]',
        "split_by": "track",
        "middle": None,
        "pretrained": "auto",
        "max_segments": None,
        "max_rejected_share": 0.2,
        "several_genres": "drop",
        "mix_analysers": 1,
        "trust_times": 0,
        "code_version": "v1",
    }


def test_driver_makes_the_content_part_of_the_cache_key(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path, 2)
    properties = {"data": str(data), "labels": str(labels), "split_by": "artist", "pretrained": "off"}
    resolved = FingerprintDriver(None).resolve_exec_properties(dict(properties), None, None)
    assert resolved.items() >= properties.items()
    assert resolved[utils.FINGERPRINT_PROPERTY_NAME] == fingerprint_of([Span(0, str(data), str(labels))])


def test_driver_reads_unchanged_files_once_unless_it_is_asked_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "_COARSEST_NS", 0)
    data, labels = write_catalogue(tmp_path, 3)
    places = {"data": str(data), "labels": str(labels), "store": str(tmp_path / "store")}
    properties = {**places, "pretrained": "off"}

    def resolved(trust_times: int) -> tuple[dict[str, Any], str]:
        caplog.clear()
        with caplog.at_level("INFO"):
            given = properties | {"trust_times": trust_times}
            return FingerprintDriver(None).resolve_exec_properties(given, None, None), caplog.text

    first, said = resolved(1)
    assert "unchanged" not in said
    second, said = resolved(1)
    assert second == first
    assert "4 of 4 files are unchanged by their sizes and times, and were not read" in said
    # The cache compares the properties: how it was found out is none of them.
    again, said = resolved(0)
    assert again == first
    assert "unchanged" not in said


def test_driver_refuses_data_that_is_not_there(tmp_path: Path) -> None:
    properties = {"data": str(tmp_path / "music"), "labels": None, "pretrained": "auto"}
    with pytest.raises(PipelineInputError, match="music is not there"):
        FingerprintDriver(None).resolve_exec_properties(properties, None, None)
