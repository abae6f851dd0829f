"""``make tag``: a catalogue's answers, with interruptions, in processes of its own."""

import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from mutagen.id3 import ID3, TIT2, TPE1

from components.artifacts import IngestReport
from components.model_selector.selection import load_selection
from components.storage.locks import exclusive
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import ECHO_NEST, N_EAR, Rejection, Track
from serving.batch.folder import answer_files
from serving.batch.model import PushedModel, identify
from serving.batch.shards import Shard
from serving.batch.tables import answer_schema, answer_table, join_parts, part_table, write_part
from serving.batch.worker import PART, UNFINISHED_PART, TagShard, _comparable
from tests.conftest import FinishedRun
from tests.support.answers import own_answers
from tests.support.command import call
from tests.support.serving import track_of
from tests.support.sounds import of_form
from tests.support.tracks import GENRES, analysis, write_analysis, write_h5

# Every call is a process of its own, forked from one that has imported what takes seconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["serving.batch.run", "keras"])


def _in_process(arguments: Sequence[str], shown: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    target = os.open(shown, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
    os._exit(call("tag", *arguments))


class Tagging:
    """The command on a copy of a run's pushed model."""

    def __init__(self, run: FinishedRun, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.models = folder / "output" / "mine" / "pushed"
        shutil.copytree(run.home / "pushed", self.models)

    def arguments(self, data: Path, *more: str) -> list[str]:
        return [
            "--data",
            str(data),
            "--out",
            str(self.out),
            "--name",
            "mine",
            *more,
            f"output={self.folder / 'output'}",
        ]

    def start(self, data: Path, *more: str) -> BaseProcess:
        process = _FORKS.Process(target=_in_process, args=(self.arguments(data, *more), str(self.folder / "shown")))
        process.start()
        return process

    def run(self, data: Path, *more: str) -> tuple[int | None, str]:
        process = self.start(data, *more)
        process.join(120)
        return process.exitcode, (self.folder / "shown").read_text()

    def parts(self) -> set[str]:
        folder = self.out / "parts"
        return {part.name for part in folder.glob("*.parquet")} if folder.exists() else set()


@pytest.fixture
def tagging(finished_run: FinishedRun, tmp_path: Path) -> Tagging:
    return Tagging(finished_run, tmp_path)


def _many(folder: Path, tracks: int = 1500) -> Path:
    """A catalogue of several shards: a few analyses under many names."""
    originals = [write_analysis(folder / f"original-{n}.json", analysis(n, segments=40)) for n in range(8)]
    for number in range(tracks):
        os.link(originals[number % len(originals)], folder / f"{number:05d}.json")
    return folder


def _files(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}


def test_the_answers_are_the_pipelines_own(finished_run: FinishedRun, tagging: Tagging) -> None:
    code, shown = tagging.run(finished_run.data)
    assert code == 0, shown
    selected = load_selection(str(finished_run.artifact("ModelSelector", "selection"))).selected
    ids, expected = own_answers(finished_run.artifact("Refitter", "model_run"))
    answers = pd.read_parquet(tagging.out / "predictions.parquet").set_index("track_id")
    assert len(answers) == 60
    rows = answers.loc[ids]
    columns = [f"probability_{genre}" for genre in GENRES]
    np.testing.assert_allclose(rows[columns], expected, atol=1e-5)
    assert rows["genre"].tolist() == [GENRES[index] for index in expected.argmax(axis=1)]
    np.testing.assert_array_equal(answers["probability"], answers[columns].max(axis=1))

    (version,) = tagging.models.iterdir()
    assert f"{selected} {version.name}, from " in shown
    assert set(answers["model"]) == {selected}
    assert set(answers["model_version"]) == {int(version.name)}
    assert Path(answers["file"]["track-007"]) == finished_run.data / "track-007.json.gz"
    summary = json.loads((tagging.out / "summary.json").read_text())
    assert summary["genres"] == {genre: int((answers["genre"] == genre).sum()) for genre in GENRES}
    assert "60 tracks tagged, 0 rejected" in shown


def test_every_form_says_the_same_and_what_is_left_out_is_listed(tagging: Tagging) -> None:
    data = tagging.folder / "data"
    write_h5(data / "a.h5", ["TR1", "TR2", "TR1"])
    (data / "broken.json").write_text('{"segments": [')
    write_analysis(data / 'quote", comma.json', analysis(1))
    code, shown = tagging.run(data, "--format", "jsonl")
    assert code == 0, shown
    assert "predictions.parquet, predictions.csv, predictions.jsonl" in shown
    answers = pd.read_parquet(tagging.out / "predictions.parquet")
    # A catalogue may hold a track twice: it is answered twice.
    assert answers["track_id"].tolist() == ["TR1", "TR2", "TR1", 'quote", comma']
    assert answers["title"].tolist() == ["Title 0", "Title 1", "Title 2", ""]
    assert answers["artist_id"].tolist() == ["AR00000", "AR00001", "AR00002", ""]
    unknown = {"familiarity": [""]}  # A network does not tell.
    from_csv = pd.read_csv(tagging.out / "predictions.csv", keep_default_na=False, na_values=unknown)
    pd.testing.assert_frame_equal(from_csv.astype(answers.dtypes), answers)
    lines = [json.loads(line) for line in (tagging.out / "predictions.jsonl").read_text().splitlines()]
    texts = ["track_id", "artist_id", "artist", "title", "genre", "sure", "model", "model_version", "file", "notes"]
    assert [[line[name] for name in texts] for line in lines] == answers[texts].to_numpy().tolist()
    shares = answers.filter(like="probability_").rename(columns=lambda name: name.removeprefix("probability_"))
    pd.testing.assert_frame_equal(
        pd.DataFrame([line["probabilities"] for line in lines]), shares, check_dtype=False, atol=1e-6
    )
    (left_out,) = map(json.loads, (tagging.out / IngestReport.REJECTIONS_FILE).read_text().splitlines())
    assert left_out["path"] == str(data / "broken.json")
    assert left_out["reason"].startswith("not valid JSON")
    assert "4 tracks tagged, 1 rejected" in shown
    assert "rejections.jsonl" in shown

    # Another form is written from the answers that are there, and none is left that this call does not write.
    code, shown = tagging.run(data, "--format", "m3u8")
    assert "3 of 3 files had been tagged before" in shown
    assert not shown.count("predictions.jsonl")
    assert (tagging.out / "Jazz.m3u8").read_text() == "#EXTM3U\n"


def _answers(*tracks: Track, genre: str) -> pa.Table:
    model = PushedModel("c1m1", 7, ("Jazz", "R&B/Soul"), ("deepmusic",), "")
    share = np.full((len(tracks), 2), 0.5, np.float32)
    outputs = {"genre": np.array([genre.encode()] * len(tracks)), "probability": share[:, 0], "probabilities": share}
    return answer_table([(track.path, track) for track in tracks], outputs, model)


def test_playlists_hold_the_sound_files_by_artist_and_title(tmp_path: Path) -> None:
    tagged, file = ID3(), io.BytesIO()
    for frame in (TPE1(encoding=3, text="Änn\n#"), TIT2(encoding=3, text="Song")):
        tagged.add(frame)
    tagged.save(file)
    paths = [tmp_path / name for name in ("a.mp3", "b.wav", "c.json", "two\nlines.wav", "gone.wav")]
    for path, content in zip(paths[:4], [file.getvalue() + of_form("mp3"), of_form("wav"), b"", b""], strict=True):
        path.write_bytes(content)
    (sound,) = read(str(paths[0]), io.BytesIO(paths[0].read_bytes()))
    assert isinstance(sound, Track)
    nameless = [replace(sound, artist="", title="", path=str(path)) for path in paths[1:]]
    genres = ("Jazz", "R&B/Soul")
    names = answer_files(genres, ["jsonl", "m3u8"])
    parts = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    schema = answer_schema(genres)
    write_part(str(parts[0]), part_table([_answers(sound, *nameless, genre="Jazz")], [], schema))
    in_archive = replace(sound, path=f"{tmp_path}/all.zip!/a.mp3")
    write_part(str(parts[1]), part_table([_answers(in_archive, nameless[0], genre="R&B/Soul")], [], schema))
    join_parts(map(str, parts), genres, {name: str(tmp_path / name) for name in names})

    jazz = (tmp_path / "Jazz.m3u8").read_text(encoding="utf-8")
    assert jazz == f"#EXTM3U\n#EXTINF:-1,Änn # - Song\n{paths[0]}\n{paths[1]}\n"
    assert (tmp_path / "R&B%2FSoul.m3u8").read_text(encoding="utf-8") == f"#EXTM3U\n{paths[1]}\n"
    for answers in (
        pq.read_table(tmp_path / "predictions.parquet"),
        pyarrow.csv.read_csv(tmp_path / "predictions.csv"),
    ):
        assert answers.select(["artist", "title"]).to_pylist()[0] == {"artist": "Änn #", "title": "Song"}
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 7
    assert json.loads(lines[0])["artist"] == "Änn #"
    assert json.loads(lines[0])["probabilities"] == {"Jazz": 0.5, "R&B/Soul": 0.5}


def test_a_track_that_no_model_can_compute_with_takes_no_other_with_it(
    finished_run: FinishedRun, tagging: Tagging
) -> None:
    shutil.copytree(finished_run.artifact("Trainer-tangent", "model") / "Format-Serving", tagging.models / "7")
    data = tagging.folder / "data"
    for number in range(3):
        write_analysis(data / f"{number}.json", analysis(number))
    endless = analysis(4)
    endless["segments"][0]["timbre"][3] = 3e38
    write_analysis(data / "1-endless.json", endless)
    code, shown = tagging.run(data, "--version", "7")
    assert code == 0, shown
    assert "tangent 7, from " in shown
    assert pd.read_parquet(tagging.out / "predictions.parquet")["track_id"].tolist() == ["0", "1", "2"]
    (left_out,) = map(json.loads, (tagging.out / IngestReport.REJECTIONS_FILE).read_text().splitlines())
    assert left_out["path"] == str(data / "1-endless.json")
    assert left_out["reason"] == "segments[0].timbre[3] = 3e+38 is outside [-1000, 1000]"


def test_a_model_that_listens_is_not_asked_about_an_analysis(tmp_path: Path) -> None:
    track = track_of(write_analysis(tmp_path / "a.json", analysis(1)))
    model = PushedModel("ear", 1, ("Jazz",), (ECHO_NEST,), "", listens=True)
    left_out = _comparable(track, model)
    assert isinstance(left_out, Rejection)
    assert left_out.reason == "this model listens to sound, and an analysis has none: give it the sound file"
    heard = replace(track, ear=np.ones(N_EAR, np.float32))
    assert _comparable(heard, model) is heard


def test_tracks_of_an_analyser_that_the_model_does_not_know_are_left_out(
    finished_run: FinishedRun, tagging: Tagging
) -> None:
    (version,) = tagging.models.iterdir()
    description = version / "assets.extra" / "description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "analysers": ["another"]}))
    code, shown = tagging.run(finished_run.data)
    assert code == 1, shown
    assert "0 tracks tagged, 60 rejected" in shown
    left_out = [json.loads(line) for line in (tagging.out / IngestReport.REJECTIONS_FILE).read_text().splitlines()]
    assert {item["track_id"] for item in left_out} == {f"track-{number:03d}" for number in range(60)}
    assert left_out[0]["reason"].startswith("it was analysed by echo_nest, but ")
    assert pd.read_parquet(tagging.out / "predictions.parquet").empty


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_as_if_it_had_not_been(tagging: Tagging) -> None:
    data = _many(tagging.folder / "data")
    code, shown = tagging.run(data)
    assert code == 0, shown
    uninterrupted, every_part = _files(tagging.out), tagging.parts()
    shutil.rmtree(tagging.out)

    kept: set[str] = set()
    for more in (0, 1, 2, 3):
        process = tagging.start(data)
        while len(tagging.parts()) < len(kept) + more or not (tagging.out / "lock").exists():
            assert process.is_alive(), (tagging.folder / "shown").read_text()
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert kept <= tagging.parts() < every_part
        kept = tagging.parts()
        assert not (tagging.out / "summary.json").exists()
    code, shown = tagging.run(data)
    assert code == 0, shown
    assert "of 1,508 files had been tagged before" in shown
    assert _files(tagging.out) == uninterrupted
    assert tagging.parts() == every_part
    assert {file.suffix for file in (tagging.out / "parts").iterdir()} == {".parquet", ".json"}

    # Killed between the last shard and the end: everything is tagged, not everything is published.
    for missing in ("summary.json", "predictions.csv"):
        (tagging.out / missing).unlink()
        code, shown = tagging.run(data)
        assert "1,508 of 1,508 files had been tagged before" in shown
        assert _files(tagging.out) == uninterrupted


def test_only_what_changed_is_tagged_anew_and_no_stale_answer_stays(tagging: Tagging) -> None:
    data = _many(tagging.folder / "data")
    tagging.run(data)
    before, parts = pd.read_parquet(tagging.out / "predictions.parquet").set_index("track_id"), tagging.parts()
    assert tagging.run(data)[0] == 0
    assert tagging.parts() == parts

    (data / "00003.json").unlink()
    changed = data / "00700.json"
    changed.unlink()
    write_analysis(changed, analysis(99))
    write_analysis(data / "01499a.json", analysis(98))
    code, shown = tagging.run(data)
    assert code == 0, shown
    again = pd.read_parquet(tagging.out / "predictions.parquet").set_index("track_id")
    assert set(again.index) == set(before.index) - {"00003"} | {"01499a"}
    assert again.index.is_unique
    assert again["probability"]["00700"] != before["probability"]["00700"]
    assert len(tagging.parts() - parts) == 3
    kept = sum(pq.read_metadata(tagging.out / "parts" / part).num_rows for part in tagging.parts() & parts)
    assert _tagged_before(shown) == kept > 0


def _tagged_before(shown: str) -> int:
    found = re.search(r"([\d,]+) of [\d,]+ files had been tagged before", shown)
    assert found is not None, shown
    return int(found[1].replace(",", ""))


def test_a_file_that_could_not_be_read_is_tried_again(finished_run: FinishedRun, tagging: Tagging) -> None:
    (folder,) = tagging.models.iterdir()
    model = identify(str(folder))
    step = TagShard(model, str(folder), str(tagging.folder))
    step.setup()
    gone = Shard("key", (str(finished_run.data / "track-001.json.gz"), str(tagging.folder / "gone.json")))
    assert list(step.process(gone)) == []
    assert [part.name for part in tagging.folder.glob("key*")] == [f"key{UNFINISHED_PART}"]

    tagging.run(finished_run.data)
    answers = _files(tagging.out)
    (part, *_) = sorted((tagging.out / "parts").glob("*.parquet"))
    part.rename(part.with_name(part.name.replace(PART, UNFINISHED_PART)))
    code, shown = tagging.run(finished_run.data)
    assert code == 0, shown
    assert "had been tagged before" in shown or len(tagging.parts()) == 1
    assert part.exists()
    assert _files(tagging.out) == answers


def test_answers_of_another_model_or_catalogue_are_kept_apart(finished_run: FinishedRun, tagging: Tagging) -> None:
    tagging.run(finished_run.data)
    answers = _files(tagging.out)
    (version,) = tagging.models.iterdir()
    name = identify(str(version)).name
    shutil.copytree(version, version.with_name("1999999999"))
    code, shown = tagging.run(finished_run.data)
    assert code == 1
    assert f"{tagging.out} holds the answers of {name} {version.name} to {finished_run.data}: choose another" in shown
    other = _many(tagging.folder / "other", 1)
    code, shown = tagging.run(other, "--version", version.name)
    assert code == 1
    assert f"choose another folder for the answers of {name} {version.name} to {other}." in shown
    assert _files(tagging.out) == answers
    assert tagging.run(finished_run.data, "--version", version.name)[0] == 0


@pytest.mark.parametrize(
    ("data", "out", "told"),
    [
        ("none", "out", "The data folder {folder}/none is not there."),
        ("empty", "out", "No audio analysis below {folder}/empty: no file ends in .json"),
        ("data", "data/deep/out", "{folder}/data/deep/out is inside of {folder}/data: what is written there would"),
        ("data", "file", "{folder}/file cannot be written to: "),
        ("data", "precious", "{folder}/precious holds predictions.csv and no answers: choose a new folder."),
        ("data", "busy", "Another run writes to {folder}/busy. Wait for it to end, or choose another folder."),
    ],
)
def test_what_cannot_be_is_a_line(data: str, out: str, told: str, tagging: Tagging) -> None:
    folder = tagging.folder
    _many(folder / "data", 1)
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    (folder / "precious").mkdir()
    (folder / "precious" / "predictions.csv").write_text("mine")
    (folder / "busy").mkdir()
    tagging.out = folder / out
    with exclusive(folder / "busy" / "lock"):
        code, shown = tagging.run(folder / data)
    assert code == 1
    assert told.format(folder=folder) in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) <= 3
    assert (folder / "precious" / "predictions.csv").read_text() == "mine"
    assert not (folder / "data" / "deep").exists()


def test_a_full_disk_is_a_line_and_the_next_call_goes_on(tagging: Tagging) -> None:
    data = _many(tagging.folder / "data")
    process = tagging.start(data)
    while not tagging.parts():
        time.sleep(0.001)
    # What can be written to no further, as a disk that is full.
    assert process.pid is not None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2000, 2000))
    process.join(60)
    shown = (tagging.folder / "shown").read_text()
    assert process.exitcode == 1
    assert f"{tagging.out / 'parts'} cannot be written to: " in shown
    assert "File too large\n" in shown
    code, shown = tagging.run(data)
    assert code == 0
    assert _tagged_before(shown) > 0


def test_without_a_model_or_the_version_there_is_a_line(tagging: Tagging, capsys: pytest.CaptureFixture[str]) -> None:
    (version,) = tagging.models.iterdir()
    assert call("tag", *tagging.arguments(tagging.folder, "--version", "7")) == 1
    assert capsys.readouterr().err == f"No version 7 was pushed to {tagging.models}; there are {version.name}.\n"
    shutil.rmtree(version)
    # The settings that a crawl was made with name the store as the data of runs.
    assert call("tag", *tagging.arguments(tagging.folder), "spotify.enabled=true") == 1
    assert capsys.readouterr().err.startswith(f"No model was pushed to {tagging.models} or ")


def test_a_model_that_is_not_whole_is_a_line(finished_run: FinishedRun, tagging: Tagging) -> None:
    (version,) = tagging.models.iterdir()
    (version / "saved_model.pb").write_bytes(b"half")
    code, shown = tagging.run(finished_run.data)
    assert code == 1
    assert f"The model in {version} does not load: " in shown
    shutil.rmtree(version / "assets.extra")
    code, shown = tagging.run(finished_run.data)
    assert code == 1
    assert f"{version} is no whole model of this pipeline: " in shown


def test_ctrl_c_is_a_line(tagging: Tagging) -> None:
    data = _many(tagging.folder / "data")
    process = tagging.start(data)
    while not tagging.parts():
        time.sleep(0.001)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    shown = (tagging.folder / "shown").read_text()
    assert process.exitcode == 130, shown
    assert "Interrupted. Run the same command to resume." in shown
