"""The whole pipeline, started as a user starts it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import load_settings
from tests.conftest import ROOT, FinishedRun, run_local
from tests.tracks import analysis, write_analysis, write_catalogue

COMPONENTS = (
    "TrackExampleGen",
    "StatisticsGen",
    "SchemaImport",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "ModelCheck",
    "Pusher",
)


def test_a_run_ends_with_a_pushed_version(finished_run: FinishedRun) -> None:
    (version,) = (finished_run.home / "pushed").iterdir()
    assert version.name.isdigit()
    assert (version / "saved_model.pb").is_file()
    assert f"pushed/{version.name}" in finished_run.stdout


def test_every_component_has_a_line_with_its_time(finished_run: FinishedRun) -> None:
    for component in COMPONENTS:
        assert re.search(rf"^{component} +\d+\.\d s$", finished_run.stdout, re.MULTILINE), component


def test_every_epoch_has_a_line(finished_run: FinishedRun) -> None:
    history = json.loads((finished_run.artifact("Trainer", "model_run") / "history.json").read_text())
    assert len(re.findall(r"^  epoch ", finished_run.stdout, re.MULTILINE)) == len(history["loss"])


def test_the_terminal_is_free_of_library_logs_and_the_log_file_has_them(finished_run: FinishedRun) -> None:
    assert "INFO" not in finished_run.stdout
    assert "WARNING" not in finished_run.stdout
    (log, *_) = (finished_run.home / "logs").iterdir()
    assert "INFO absl" in log.read_text()


def test_the_model_run_holds_tensorboard_logs(finished_run: FinishedRun) -> None:
    assert list(finished_run.artifact("Trainer", "model_run").rglob("events.out.tfevents.*"))


def test_a_second_run_takes_everything_from_the_cache(finished_run: FinishedRun) -> None:
    result = run_local(finished_run.arguments)
    assert result.returncode == 0
    for component in COMPONENTS:
        assert re.search(rf"^{component} +\d+\.\d s  from the cache$", result.stdout, re.MULTILINE), result.stdout
    assert len(list((finished_run.home / "pushed").iterdir())) == 1


def test_an_equal_seed_gives_equal_weights(finished_run: FinishedRun, tmp_path: Path) -> None:
    arguments = [argument.replace(str(finished_run.home.parent), str(tmp_path)) for argument in finished_run.arguments]
    assert run_local(arguments).returncode == 0
    histories = [
        next((home / "artifacts/Trainer/model_run").glob("*/history.json")).read_text()
        for home in (finished_run.home, tmp_path / "small")
    ]
    assert histories[0] == histories[1]


def test_data_against_the_schema_stop_the_run_until_either_is_mended(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path)
    for number in range(40):
        track = analysis(number)
        for segment in track["segments"]:
            segment["timbre"][6] *= 1000
        write_analysis(data / f"track-{number:03d}.json.gz", track)
    schema = tmp_path / "track.pbtxt"
    schema.write_text(load_settings().schema_file.read_text())
    arguments = ("--data", str(data), "--labels", str(labels), "--name", "bad", f"output={tmp_path}")
    settings = (f"schema_file={schema}", "training.epochs=1")
    result = run_local((*arguments, *settings))
    assert result.returncode == 1
    assert re.search(r"^  train: timbre_07: .*>500", result.stdout, re.MULTILINE), result.stdout
    assert "nothing was trained or pushed" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "bad/pushed").exists()
    assert not (tmp_path / "bad/artifacts/Trainer").exists()

    schema.write_text(schema.read_text().replace("min: -500.0 max: 500.0", "min: -1e6 max: 1e6"))
    result = run_local((*arguments, *settings))
    assert result.returncode == 0, result.stdout
    assert re.search(r"^StatisticsGen .*from the cache$", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "/no/such/folder"), "The data folder /no/such/folder is not there."),
        (("--data", "{empty}"), "No audio analysis below {empty}: no file ends in .json, .json.gz, .h5, .hdf5."),
        (("--data", "{data}", "--labels", "{empty}/none.csv"), "The labels file {empty}/none.csv is not there."),
        (("--data", "{data}", "--labels", "{columns}"), "{columns} has no column genre; it has track_id, style."),
        (("--data", "{data}", "--labels", "{strangers}"), "None of the 4 tracks has a genre"),
        (("training.epochs=0",), "training.epochs = 0: Input should be greater than or equal to 1."),
        (("training.epoch=1",), "training.epoch is not a setting; there are batch_size, epochs,"),
    ],
)
def test_a_mistake_is_answered_with_one_clear_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("empty", "columns", "strangers")}
    places["empty"].mkdir()
    places["columns"].write_text("track_id,style\na,Rock\n")
    places["strangers"].write_text("track_id,genre\nsomebody,Rock\n")
    places["data"], _ = write_catalogue(tmp_path / "catalogue", tracks=4)
    filled = [argument.format(**places) for argument in arguments]
    result = run_local((*filled, f"output={tmp_path / 'output'}"))
    assert result.returncode == 1
    assert message.format(**places) in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_is_gone_on_with(stop: signal.Signals, tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path)
    arguments = ("--data", str(data), "--labels", str(labels), "--name", "stopped", f"output={tmp_path}")
    endless = ("training.epochs=100000", "training.patience=100000")
    command = [sys.executable, "-m", "pipeline.local", *arguments, *endless]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = ""
        while "epoch   2" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        process.send_signal(stop)
        rest = process.stdout.read()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted." in rest
        assert "Traceback" not in rest
    assert not (tmp_path / "stopped/pushed").exists()

    result = run_local((*arguments, "training.epochs=1"))
    assert result.returncode == 0, result.stdout
    assert re.search(r"^Transform .*from the cache$", result.stdout, re.MULTILINE), result.stdout
    assert re.search(r"^Trainer +\d+\.\d s$", result.stdout, re.MULTILINE), result.stdout


def test_the_demo_catalogue_is_neither_trivial_nor_hopeless(tmp_path: Path) -> None:
    result = run_local((f"output={tmp_path}",))
    assert result.returncode == 0, result.stdout
    assert "(synthetic)" in result.stdout
    accuracy = re.search(r"^accuracy (\S+) ", result.stdout, re.MULTILINE)
    assert accuracy is not None
    assert 0.60 <= float(accuracy[1]) <= 0.85


@pytest.mark.real_data
def test_real_tracks_go_through_the_whole_pipeline(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "million_song_h5"
    arguments = ("--data", str(folder), "--labels", str(folder / "labels.csv"), "--name", "real", f"output={tmp_path}")
    result = run_local((*arguments, "training.epochs=2"))
    assert result.returncode == 0, result.stdout
    assert "60 tracks: 49 train, 5 validation, 6 test; 0 unlabelled, 0 rejected" in result.stdout
    assert "macro F1" in result.stdout
