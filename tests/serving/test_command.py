"""``make serve``."""

import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from deepmusic_genre.errors import PipelineInputError
from pipeline.pushed import pushed_models
from pipeline.settings import load_settings
from serving.serve import development_command, docker_command
from tests.components.test_pusher import write_version
from tests.conftest import ROOT, FinishedRun, free_port
from tests.support.command import call, command


def test_the_versions_of_the_pipeline_come_before_those_of_the_demo(tmp_path: Path) -> None:
    home, settings = tmp_path / "mine", load_settings(texts={"output": str(tmp_path), "name": "mine"})
    write_version(tmp_path / "mine-demo" / "pushed" / "1700000000")
    write_version(home / "pushed" / "unfinished")
    (home / "pushed" / "1700000000" / "variables").mkdir(parents=True)
    assert pushed_models(settings) == tmp_path / "mine-demo" / "pushed"
    write_version(home / "pushed" / "1700000001")
    assert pushed_models(settings) == home / "pushed"


def test_where_nothing_was_pushed_a_line_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PipelineInputError, match=r"No model was pushed to .*: `deepmusic run` pushes one"):
        pushed_models(load_settings(texts={"output": str(tmp_path / "none")}))
    (tmp_path / "settings.yaml").write_text(f"output: {tmp_path}\n")
    assert call("serve", "--settings", str(tmp_path / "settings.yaml")) == 1
    assert capsys.readouterr().err.startswith("No model was pushed to ")


def test_docker_is_given_the_folder_by_an_absolute_path() -> None:
    command = docker_command(Path("output/mine/pushed"))
    assert command.environment == {"MODELS": str(Path.cwd() / "output/mine/pushed")}
    assert Path(command.arguments[3]).is_file()


@pytest.mark.slow
def test_tracks_are_logged_by_the_stand_in(finished_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(f"output: {finished_run.home.parent}\n")
    rest, log = free_port(), tmp_path / "log"
    flags = [f"--settings={tmp_path / 'settings.yaml'}", "--name=small", f"--rest-port={rest}", f"--log={log}"]
    serving = command("serve", *flags, f"--port={free_port()}")
    with subprocess.Popen(serving, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready, deepmusic" in process.stdout.readline()
        track = {"timbre": [[40.0] + [1.0] * 11] * 30, "pitches": [[0.5] * 12] * 30}
        url = f"http://127.0.0.1:{rest}/v1/models/deepmusic:predict"
        assert httpx.post(url, json={"instances": [track]}, timeout=30).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(list(log.glob("deepmusic-*.tfrecord"))) == 1


def test_the_stand_in_serves_the_pushed_model(finished_run: FinishedRun) -> None:
    rest, grpc = free_port(), free_port()
    command = development_command(finished_run.home / "pushed", grpc, rest)
    with subprocess.Popen(command.arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready, deepmusic" in process.stdout.readline()
        status = httpx.get(f"http://127.0.0.1:{rest}/v1/models/deepmusic").json()
        assert [version["state"] for version in status["model_version_status"]] == ["AVAILABLE"]
        segments = [[40.0] + [1.0] * 11] * 30
        track = {"timbre": segments, "pitches": [[0.5] * 12] * 30}
        answer = httpx.post(
            f"http://127.0.0.1:{rest}/v1/models/deepmusic:predict", json={"instances": [track]}, timeout=30
        ).json()
        (prediction,) = answer["predictions"]
        assert prediction["genre"] in prediction["genres"]
        assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-4)
        metrics = httpx.get(f"http://127.0.0.1:{rest}/monitoring/prometheus/metrics").text
        assert ":tensorflow:serving:request_count" in metrics
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
