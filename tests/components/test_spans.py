"""Tests of catalogues that grow: spans, and what is not read a second time."""

import csv
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.components.example_gen import utils

from components.track_example_gen import chunks
from components.track_example_gen.driver import FingerprintDriver
from components.track_example_gen.executor import writing_to
from components.track_example_gen.outcomes import read_outcomes
from components.track_example_gen.spans import Span, find_spans, fingerprint_of
from deepmusic_genre.errors import PipelineInputError
from tests.conftest import without_rights
from tests.support.ingestion import Run, execute
from tests.support.tracks import analysis, write_analysis, write_catalogue

# Finding spans


def _place(path: Path) -> str:
    return str(write_analysis(path / "a.json", analysis()).parent)


def _numbers(spans: Sequence[Span]) -> list[int]:
    return [span.number for span in spans]


def test_path_without_a_number_is_one_span() -> None:
    assert find_spans("/data", "/labels.csv", None) == [Span(0, "/data", "/labels.csv")]


def test_spans_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    places = {number: _place(tmp_path / f"span-{number}" / "tracks") for number in (10, 9, 100)}
    labels = str(tmp_path / "labels.csv")
    assert find_spans(f"{tmp_path}/span-{{SPAN}}/tracks", labels, None) == [
        Span(number, places[number], labels) for number in (9, 10, 100)
    ]


@pytest.mark.parametrize(("newest", "numbers"), [(1, [3]), (2, [2, 3]), (9, [1, 2, 3])])
def test_newest_spans_are_a_rolling_window(tmp_path: Path, newest: int, numbers: list[int]) -> None:
    for number in (1, 2, 3):
        _place(tmp_path / str(number))
    assert _numbers(find_spans(f"{tmp_path}/{{SPAN}}", None, newest)) == numbers


@pytest.mark.parametrize(
    ("labels", "name"), [("{SPAN}.csv", "0012.csv"), ("{SPAN:4}.csv", "0012.csv"), ("{SPAN:6}.csv", "000012.csv")]
)
def test_each_span_may_have_its_own_labels(tmp_path: Path, labels: str, name: str) -> None:
    _place(tmp_path / "0012")
    (span,) = find_spans(f"{tmp_path}/{{SPAN:4}}", f"/labels/{labels}", None)
    assert (span.number, span.labels) == (12, f"/labels/{name}")


def test_files_may_be_spans_and_what_holds_no_analysis_is_none(tmp_path: Path) -> None:
    for name in ("day-1.json", "day-2.json", "other.json"):
        write_analysis(tmp_path / name, analysis())
    (tmp_path / "day-x.csv").write_text("")
    (tmp_path / "day-3.json").mkdir()
    assert _numbers(find_spans(f"{tmp_path}/day-{{SPAN}}.json", None, None)) == [1, 2]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["1", "old"], "'old', which stands for {SPAN}, is no number"),
        (["1", "2024-05"], "'2024-05', which stands for {SPAN}, is no number"),
        (["1", "01"], "are both span 1 of data.path"),
        ([], "There is no span"),
    ],
    ids=["no number", "date", "twice", "none"],
)
def test_spans_that_cannot_be_told_apart_are_refused(tmp_path: Path, places: list[str], message: str) -> None:
    for place in places:
        _place(tmp_path / place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineInputError) as caught:
        find_spans(f"{tmp_path}/{{SPAN}}", None, None)
    assert message in str(caught.value)
    assert f"{tmp_path}/{{SPAN}}" in str(caught.value)


def test_folder_of_spans_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineInputError, match=f"The folder of the spans, {tmp_path / 'none'}, is not there"):
        find_spans(f"{tmp_path}/none/{{SPAN}}", None, None)


@pytest.mark.parametrize("data", ["nowhere://music/{SPAN}", "foo://music/{SPAN}/tracks"])
def test_file_system_that_is_not_known_is_named(data: str) -> None:
    folder = data.partition("/{")[0]
    with pytest.raises(PipelineInputError, match=f"The folder of the spans {folder} cannot be looked for: .*scheme"):
        find_spans(data, None, None)


# What is not read again


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_FILES_A_CHUNK", 8)


def _again(root: Path, data: Path | str, labels: Path | str | None, **settings: Any) -> Run:
    """A further run with the store of ``root``."""
    number = len(list(root.glob("run-*")))
    return execute(root / f"run-{number}", Path(data), Path(labels) if labels else None, store=str(root), **settings)


def _new(run: Run) -> int:
    return int(run.summary["new"])


def spanned(folder: Path, spans: int, tracks: int = 24) -> tuple[str, str]:
    """Catalogues of so many tracks each in folders 1, 2..., and their labels beside them."""
    for number in range(1, spans + 1):
        add_span(folder, number, tracks)
    return str(folder / "{SPAN}" / "tracks"), str(folder / "{SPAN}" / "labels.csv")


def add_span(folder: Path, number: int, tracks: int = 24) -> None:
    data, labels = write_catalogue(folder / "all", tracks * number, tracks_per_artist=1)
    own = sorted(data.iterdir())[tracks * (number - 1) :]
    for path in own:
        target = folder / str(number) / "tracks" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(data)
    labels.rename(folder / str(number) / "labels.csv")


def test_new_span_costs_its_own_reading_and_the_examples_are_those_of_a_first_run(tmp_path: Path) -> None:
    data, labels = spanned(tmp_path / "spans", 2)
    assert _new(_again(tmp_path, data, labels)) == 48
    add_span(tmp_path / "spans", 3)
    grown = _again(tmp_path, data, labels)
    assert (_new(grown), grown.count, grown.summary["spans"]) == (24, 72, [1, 2, 3])
    fresh = execute(tmp_path / "fresh", Path(data), Path(labels))
    assert fresh.summary["new"] == 72
    assert fresh.examples == grown.examples


@pytest.mark.slow
def test_rolling_window_reads_nothing_that_was_read(tmp_path: Path) -> None:
    data, labels = spanned(tmp_path / "spans", 3)
    _again(tmp_path, data, labels)
    window = _again(tmp_path, data, labels, spans=2)
    assert (_new(window), window.count, window.summary["spans"]) == (0, 48, [2, 3])


def test_track_in_two_spans_stays_in_the_first(tmp_path: Path) -> None:
    data, labels = spanned(tmp_path / "spans", 2)
    again = tmp_path / "spans" / "2" / "tracks" / "track-000.json.gz"
    shutil.copy(tmp_path / "spans" / "1" / "tracks" / "track-000.json.gz", again)
    run = _again(tmp_path, data, labels)
    assert (run.count, run.summary["repeated"]) == (48, 1)
    assert [item["path"] for item in run.rejections] == [str(again)]


def test_added_files_and_their_rows_leave_most_of_a_folder_as_it_is(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    _again(tmp_path, data, labels)
    write_analysis(data / "track-040-b.json", analysis(1000))
    with labels.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["track-040-b", "", "", "", "Jazz"])
    grown = _again(tmp_path, data, labels)
    assert grown.count == 81
    assert 0 < _new(grown) < 40


def _relabel(data: Path) -> None:
    labels = data.parent / "labels.csv"
    labels.write_text(labels.read_text(encoding="utf-8").replace("Title 3,Hip-Hop", "Title 3,Jazz"), encoding="utf-8")


def _rewrite(data: Path) -> None:
    write_analysis(data / "track-003.json.gz", analysis(2000))


def _remove(data: Path) -> None:
    (data / "track-003.json.gz").unlink()


@pytest.mark.parametrize(
    "change", [_relabel, pytest.param(_rewrite, marks=pytest.mark.slow), pytest.param(_remove, marks=pytest.mark.slow)]
)
def test_what_changed_is_read_again_with_its_neighbours(tmp_path: Path, change: Callable[[Path], None]) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    _again(tmp_path, data, labels)
    change(data)
    changed = _again(tmp_path, data, labels)
    assert 0 < _new(changed) < 40
    assert changed.examples == execute(tmp_path / "fresh", data, labels).examples


@pytest.mark.parametrize(
    "settings",
    [{"code_version": "later"}, {"max_segments": 7}, {"unknown_artists": '["Ann"]'}, {"several_genres": "first"}],
    ids=lambda settings: next(iter(settings)),
)
def test_what_decides_on_examples_makes_everything_new(tmp_path: Path, settings: dict[str, Any]) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 40, tracks_per_artist=1)
    _again(tmp_path, data, labels)
    assert _new(_again(tmp_path, data, labels, **settings)) == 40


def test_refused_ingestion_goes_on_with_what_it_has_read(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    broken = data / "track-003.json.gz"
    content = broken.read_bytes()
    broken.write_bytes(b"garbage")
    with pytest.raises(PipelineInputError, match="1 of 80 tracks were rejected"):
        _again(tmp_path, data, labels, max_rejected_share=0)
    broken.write_bytes(content)
    mended = _again(tmp_path, data, labels, max_rejected_share=0)
    assert mended.count == 80
    assert _new(mended) < 40


@pytest.mark.slow
def test_interrupted_ingestion_goes_on_with_what_it_has_read(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    whole = _again(tmp_path, data, labels)
    shards = sorted(path for path in tmp_path.iterdir() if len(path.name) == 32)
    # The files' content decides which these are: a few tracks, or most of them.
    lost = sum(len(read_outcomes(str(shard))) for shard in shards[:2])
    shards[0].rename(f"{shards[0]}.1.part")
    shutil.rmtree(shards[1])
    again = _again(tmp_path, data, labels)
    assert _new(again) == lost < 80
    assert again.examples == whole.examples
    assert sorted(path for path in tmp_path.iterdir() if len(path.name) == 32) == shards
    assert not list(tmp_path.glob("*.part"))


def test_data_that_change_while_they_are_read_end_the_run_and_only_they_are_read_again(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    before = fingerprint_of([Span(0, str(data), str(labels))])
    _rewrite(data)
    with pytest.raises(PipelineInputError, match=f"changed while .* read: {data}.*[Rr]un again"):
        _again(tmp_path, data, labels, input_fingerprint=before)
    now = fingerprint_of([Span(0, str(data), str(labels))])
    assert _again(tmp_path, data, labels, input_fingerprint=now).count == 80


@pytest.mark.slow
def test_file_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 80, tracks_per_artist=1)
    (data / "track-003-closed.json").touch(0o000)
    with without_rights(tmp_path):
        runs = [_again(tmp_path, data, labels) for _ in range(2)]
    assert [len(run.rejections) for run in runs] == [1, 1]
    assert 0 < _new(runs[1]) < 40


def test_changed_examples_change_the_shard_and_it_is_told_and_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 40)
    first = _again(tmp_path, data, labels)
    shard = max(tmp_path.glob("*/examples-train"), key=lambda file: file.stat().st_size)
    published = next(path for path in tmp_path.rglob("Split-train/*") if path.samefile(shard))
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    published.write_bytes(content)
    with caplog.at_level("INFO"):
        second = _again(tmp_path, data, labels)
    assert f"{shard.parent} is damaged, examples-train has changed; its files are read again" in caplog.text
    assert second.examples == first.examples
    assert 0 < _new(second) < 40
    assert published.read_bytes() == content


def test_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "catalogue", 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineInputError, match=f"Nothing more can be written to {tmp_path / 'file' / 'store'}"):
        execute(tmp_path, data, labels, store=str(tmp_path / "file" / "store"))


@pytest.mark.parametrize(
    ("code", "lasting"),
    [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EACCES, True), (errno.EIO, False), (errno.ESTALE, False)],
    ids=errno.errorcode.get,
)
def test_only_what_another_try_would_not_mend_is_the_users(code: int, lasting: bool) -> None:
    error = OSError(code, os.strerror(code), "/store/shard")
    with pytest.raises(PipelineInputError if lasting else OSError, match=os.strerror(code)), writing_to("/store"):
        raise error


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (tf.errors.PermissionDeniedError(None, None, "code 403"), True),
        (tf.errors.ResourceExhaustedError(None, None, "/a; No space left on device"), True),
        (tf.errors.ResourceExhaustedError(None, None, "code 429"), False),
        (tf.errors.UnavailableError(None, None, "code 503"), False),
    ],
    ids=["403", "full", "429", "503"],
)
def test_remote_file_system_that_does_not_answer_for_a_while_is_no_fault(error: Exception, lasting: bool) -> None:
    with pytest.raises(PipelineInputError if lasting else type(error)), writing_to("gs://store"):
        raise error
    moved = OSError(None, str(error))
    moved.__cause__ = error
    with pytest.raises(PipelineInputError if lasting else OSError), writing_to("gs://store"):
        raise moved


# The driver


def test_driver_names_the_newest_span_and_its_content(tmp_path: Path) -> None:
    data, labels = spanned(tmp_path / "spans", 2)
    properties = {"data": data, "labels": labels, "spans": None, "pretrained": "off"}

    def resolved(**settings: Any) -> tuple[Any, Any]:
        found = FingerprintDriver(None).resolve_exec_properties(properties | settings, None, None)
        return found[utils.SPAN_PROPERTY_NAME], found[utils.FINGERPRINT_PROPERTY_NAME]

    before = resolved()
    assert before[0] == 2
    assert resolved() == before
    assert resolved(spans=1)[1] != before[1]
    add_span(tmp_path / "spans", 3)
    assert resolved()[0] == 3
    # Another number for the same content is another span.
    newest = resolved(spans=1)
    (tmp_path / "spans" / "3").rename(tmp_path / "spans" / "4")
    assert resolved(spans=1)[0] == 4
    assert resolved(spans=1)[1] != newest[1]


def test_labels_of_a_span_that_are_not_there_are_named(tmp_path: Path) -> None:
    data, labels = spanned(tmp_path / "spans", 2)
    Path(labels.replace("{SPAN}", "2")).unlink()
    with pytest.raises(PipelineInputError, match=r"The labels file .*/2/labels\.csv is not there"):
        FingerprintDriver(None).resolve_exec_properties({"data": data, "labels": labels}, None, None)
