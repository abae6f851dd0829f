"""The client against the stand-in with a real pushed model."""

import csv
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.model_selector.selection import load_selection
from components.scoring.predictions import load_predictions
from serving.__main__ import stand_in_command
from serving.client import EndpointError, RestClient, read_tracks
from serving.client.__main__ import main
from sources.track import Rejection, Track
from tests.conftest import ROOT, FinishedRun, free_port
from tests.tracks import analysis, write_analysis, write_h5


@pytest.fixture(scope="module")
def url(finished_run: FinishedRun) -> Iterator[str]:
    port = free_port()
    command = stand_in_command(finished_run.home / "pushed", free_port(), port)
    with subprocess.Popen(command.arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)


def _tracks(*paths: Path) -> list[Track]:
    return [item for _, item in read_tracks(map(str, paths)) if isinstance(item, Track)]


def test_the_answer_is_the_pipelines_own(finished_run: FinishedRun, url: str) -> None:
    selected = load_selection(str(finished_run.artifact("ModelSelector", "selection"))).selected
    expected = load_predictions(str(finished_run.artifact("Predictor", "predictions") / f"{selected}.parquet"))
    ids = expected.tracks["track_id"].to_pylist()
    answers = RestClient(url).predict(_tracks(*(finished_run.data / f"{track_id}.json.gz" for track_id in ids)))
    probabilities = np.array([list(answer.probabilities.values()) for answer in answers])
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    assert [answer.genre for answer in answers] == [expected.genres[index] for index in expected.predicted]


def test_padding_in_a_batch_changes_no_answer(url: str, tmp_path: Path) -> None:
    files = [write_analysis(tmp_path / f"{n}.json", analysis(n, segments=n)) for n in (5, 40, 700)]
    client = RestClient(url)
    together = client.predict(_tracks(*files))
    alone = [client.predict(_tracks(file))[0] for file in files]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-5)
    assert client.predict([]) == []


def test_a_folder_of_any_form_is_answered_for_scripts(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_analysis(tmp_path / "deep" / "a.json.gz", analysis(1))
    write_h5(tmp_path / "b.h5", ["TR1", "TR2"])
    (tmp_path / "notes.txt").write_text("nothing")
    assert main([str(tmp_path), "--url", url, "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["track_id"] for row in rows] == ["TR1", "TR2", "a"]
    assert [row["title"] for row in rows] == ["Title 0", "Title 1", ""]
    assert main([str(tmp_path), "--url", url, "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["genre"] for line in lines] == [row["genre"] for row in rows]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4) for line in lines)


def test_people_see_the_title_and_bars(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_h5(tmp_path / "b.h5", ["TR1"])
    assert main([str(file), "--url", url]) == 0
    shown = capsys.readouterr().out
    assert "Artist 0 - Title 0" in shown
    assert "█" in shown


def test_a_bad_file_is_told_and_the_others_are_answered(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("[1")
    write_analysis(tmp_path / "good.json", analysis(1))
    arguments = [str(tmp_path), str(tmp_path / "none.json"), str(tmp_path / "x.txt"), "--url", url, "--format", "csv"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "good," in printed.out
    faults = printed.err.splitlines()
    assert len(faults) == 3
    assert faults[0].startswith(f"{tmp_path / 'bad.json'}: ")
    assert faults[1].endswith("none.json: cannot be read: No such file or directory")
    assert faults[2].endswith("x.txt: its name does not end in .json, .json.gz, .h5, .hdf5")


def test_a_wrong_model_or_version_is_a_line(url: str, tmp_path: Path) -> None:
    tracks = _tracks(write_analysis(tmp_path / "a.json", analysis(1)))
    with pytest.raises(EndpointError, match="serves no such model or version as models/other:predict"):
        RestClient(url, model="other").predict(tracks)
    with pytest.raises(EndpointError, match="no such model or version as models/deepmusic/versions/7:predict"):
        RestClient(url, version=7).predict(tracks)


def test_no_server_is_a_line_that_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_analysis(tmp_path / "a.json", analysis(1))
    assert main([str(file), "--url", f"http://127.0.0.1:{free_port()}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("No server answers at http://127.0.0.1:")
    assert "make serve starts one" in line


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    tracks = _tracks(write_analysis(tmp_path / "a.json", analysis(1)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = RestClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(EndpointError, match=r"did not answer within 0\.2 s"):
            client.predict(tracks)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the next of its class's answers."""

    answers: list[tuple[int, bytes]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _served(answers: list[tuple[int, bytes]], tracks: list[Track]) -> list[str]:
    handler = type("Handler", (_Handler,), {"answers": answers})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            return [answer.genre for answer in RestClient(url).predict(tracks)]
        finally:
            server.shutdown()


_ANSWER = json.dumps({"outputs": {"genre": ["Jazz"], "genres": [["Jazz", "Rock"]], "probabilities": [[0.7, 0.3]]}})


def test_a_server_that_is_about_to_start_is_asked_again(tmp_path: Path) -> None:
    tracks = _tracks(write_analysis(tmp_path / "a.json", analysis(1)))
    assert _served([(503, b'{"error": "not yet"}'), (429, b"busy"), (200, _ANSWER.encode())], tracks) == ["Jazz"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b"<html>"), "is no TF Serving"),
        ((200, b'{"outputs": [1]}'), "none of this project's"),
        ((200, b'{"outputs": {"genre": [], "genres": [], "probabilities": []}}'), "answered 0 of 1 tracks"),
        ((400, b'{"error": "bad shape"}'), r"refused the request \(400\): bad shape"),
    ],
)
def test_an_answer_of_another_kind_is_a_line_and_is_not_asked_for_again(
    answer: tuple[int, bytes], told: str, tmp_path: Path
) -> None:
    tracks = _tracks(write_analysis(tmp_path / "a.json", analysis(1)))
    with pytest.raises(EndpointError, match=told):
        _served([answer], tracks)


def test_whoever_reads_may_stop_reading(url: str, tmp_path: Path) -> None:
    for number in range(40):
        write_analysis(tmp_path / f"{number}.json", analysis(number))
    command = [sys.executable, "-m", "serving.client", str(tmp_path), "--url", url, "--format", "jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_track_takes_its_name_from_its_file_where_nothing_else_names_it(tmp_path: Path) -> None:
    found = list(read_tracks([str(write_analysis(tmp_path / "some.track.json.gz", analysis(1)))]))
    assert [item.track_id for _, item in found if not isinstance(item, Rejection)] == ["some.track"]
