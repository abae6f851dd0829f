"""The whole pipeline, started as a user starts it."""

import fcntl
import re
import signal
import subprocess
from pathlib import Path

import pytest

from components.trainer.record import load_training
from deepmusic_genre.exit_codes import GATE, OK
from pipeline.settings import load_settings
from tests.conftest import ROOT, FinishedRun, artifacts, run_local
from tests.support.command import command
from tests.support.tracks import analysis, write_analysis, write_catalogue

CAME_TO_ITS_END = (OK, GATE)

COMPONENTS = (
    "TrackExampleGen",
    "StatisticsGen",
    "SchemaImport",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer-c1m1",
    "Trainer-tangent",
    "Trainer-ear",
    "ModelSelector",
    "ModelCheck",
    "Predictor",
    "Evaluator",
    "ModelValidator",
    "Refitter",
    "Pusher",
    "ReportGen",
)


def test_a_run_ends_with_a_pushed_version(finished_run: FinishedRun) -> None:
    (version,) = (finished_run.home / "pushed").iterdir()
    assert version.name.isdigit()
    assert (version / "saved_model.pb").is_file()
    assert f"pushed/{version.name}" in finished_run.stdout


def test_every_component_has_a_line_with_its_time(finished_run: FinishedRun) -> None:
    for component in COMPONENTS:
        assert re.search(rf"^{component} +\d+\.\d s$", finished_run.stdout, re.MULTILINE), component


def test_a_model_that_listens_is_passed_over_in_a_line_where_there_is_no_sound(finished_run: FinishedRun) -> None:
    assert len(re.findall(r"^  ear is passed over: it learns from sound, ", finished_run.stdout, re.MULTILINE)) == 1
    assert not (finished_run.artifact("Predictor", "predictions") / "ear.parquet").exists()


def test_every_epoch_has_a_line(finished_run: FinishedRun) -> None:
    record = load_training(str(finished_run.artifact("Trainer-c1m1", "model_run")))
    assert len(re.findall(r"^  epoch ", finished_run.stdout, re.MULTILINE)) == len(record.history["loss"])


def test_the_terminal_is_free_of_library_logs_and_the_log_file_has_them(finished_run: FinishedRun) -> None:
    assert "INFO" not in finished_run.stdout
    assert "WARNING" not in finished_run.stdout
    (log, *_) = (finished_run.home / "logs").iterdir()
    assert "INFO absl" in log.read_text()


def test_the_model_run_holds_tensorboard_logs(finished_run: FinishedRun) -> None:
    assert list(finished_run.artifact("Trainer-c1m1", "model_run").rglob("events.out.tfevents.*"))


def test_a_second_run_takes_everything_from_the_cache(finished_run: FinishedRun) -> None:
    for component in COMPONENTS:
        line = rf"^{component} +\d+\.\d s  from the cache$"
        assert re.search(line, finished_run.again, re.MULTILINE), finished_run.again
    assert len(list((finished_run.home / "pushed").iterdir())) == 1


@pytest.mark.slow
def test_data_against_the_schema_stop_the_run_until_either_is_mended(tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path)
    for number in range(40):
        track = analysis(number)
        for segment in track["segments"]:
            segment["timbre"][6] = 700.0
        write_analysis(data / f"track-{number:03d}.json.gz", track)
    schema = tmp_path / "track.pbtxt"
    schema.write_text(Path(load_settings().schema_file).read_text())
    arguments = ("--data", str(data), "--labels", str(labels), "--name", "bad", f"output={tmp_path}")
    settings = (f"schema_file={schema}", "training.models=[tangent]")
    result = run_local((*arguments, *settings))
    assert result.returncode == GATE
    assert "gate: AnomalyGate kept the model from being pushed" in result.stdout
    assert re.search(r"^  train: timbre_07: .*>500", result.stdout, re.MULTILINE), result.stdout
    assert "nothing was trained or pushed" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "bad/pushed").exists()
    assert not artifacts(tmp_path / "bad", "Trainer-tangent", "model")

    schema.write_text(schema.read_text().replace("min: -500.0 max: 500.0", "min: -1e6 max: 1e6"))
    result = run_local((*arguments, *settings))
    assert result.returncode in CAME_TO_ITS_END, result.stdout
    assert re.search(r"^StatisticsGen .*from the cache$", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "/no/such/folder"), "The data folder /no/such/folder is not there."),
        (("--data", "{empty}"), "No audio analysis below {empty}: no file ends in .json, .json.gz, "),
        (("--data", "{data}", "--labels", "{empty}/none.csv"), "The labels file {empty}/none.csv is not there."),
        (("--data", "{data}", "--labels", "{columns}"), "{columns} has no column genre; it has track_id, style."),
        (("--data", "{data}", "--labels", "{strangers}"), "None of the 4 tracks has a genre"),
        (("models.c1m1.epochs=0",), "models.c1m1.epochs = 0: Input should be greater than or equal to 1."),
        (("training.epoch=1",), "training.epoch is not a setting; there are balance, models,"),
        (("training.models=[c9m9]",), "training.models.0 = 'c9m9': is not a model; there are c1m1, c1m2"),
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


def test_a_second_run_at_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "busy").mkdir()
    data, labels = write_catalogue(tmp_path, tracks=4)
    with (tmp_path / "busy" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run_local(("--data", str(data), "--labels", str(labels), "--name", "busy", f"output={tmp_path}"))
    assert result.returncode == 1
    assert f"Another run writes to {tmp_path / 'busy'}." in result.stdout


def test_what_nobody_planned_for_is_a_line_and_a_log(tmp_path: Path) -> None:
    foreign = tmp_path / "deepmusic-demo" / "catalogue" / "precious.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    result = run_local((f"output={tmp_path}",))
    assert result.returncode == 1
    assert "is not a generated catalogue and will not be replaced" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    (log,) = (tmp_path / "deepmusic-demo" / "logs").iterdir()
    assert "Traceback" in log.read_text()


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_local((f"output={tmp_path / 'file'}",))
    assert result.returncode == 1
    assert f"Nothing can be written to output = {tmp_path / 'file'}: Not a directory." in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_is_gone_on_with(stop: signal.Signals, tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path)
    arguments = (
        *("--data", str(data), "--labels", str(labels), "--name", "stopped"),
        *(f"output={tmp_path}", "training.models=[c1m1]"),
    )
    endless = ("models.c1m1.epochs=100000", "models.c1m1.patience=100000")
    # A shell's background job, which the tests may be, hands on a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command("run", *arguments, *endless), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
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
        assert "Interrupted. Run the same command to resume" in rest
        assert "Traceback" not in rest
    assert not (tmp_path / "stopped/pushed").exists()

    result = run_local((*arguments, "models.c1m1.epochs=1"))
    assert result.returncode in CAME_TO_ITS_END, result.stdout
    assert re.search(r"^Transform .*from the cache$", result.stdout, re.MULTILINE), result.stdout
    assert re.search(r"^Trainer-c1m1 +\d+\.\d s$", result.stdout, re.MULTILINE), result.stdout
    for key in ("model", "model_run"):
        assert len(artifacts(tmp_path / "stopped", "Trainer-c1m1", key)) == 1
    assert not list((tmp_path / "stopped/artifacts").rglob(".system"))


@pytest.mark.slow
def test_the_demo_catalogue_is_neither_trivial_nor_hopeless(tmp_path: Path) -> None:
    result = run_local((f"output={tmp_path}", "training.models=[c1m1]"))
    assert result.returncode == 0, result.stdout
    assert "(synthetic)" in result.stdout
    accuracy = re.search(r"^accuracy (\S+) ", result.stdout, re.MULTILINE)
    assert accuracy is not None
    assert 0.60 <= float(accuracy[1]) <= 0.85


@pytest.mark.slow
@pytest.mark.real_data
def test_real_tracks_go_through_the_whole_pipeline(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "million_song_h5"
    arguments = ("--data", str(folder), "--labels", str(folder / "labels.csv"), "--name", "real", f"output={tmp_path}")
    result = run_local((*arguments, "models.c1m1.epochs=2"))
    # Nine test tracks are too few for a model to be better than the most frequent genre beyond noise.
    assert result.returncode in CAME_TO_ITS_END, result.stdout
    assert "60 tracks: 43 train, 8 validation, 9 test; 0 unlabelled, 0 rejected" in result.stdout
    assert "macro F1" in result.stdout
