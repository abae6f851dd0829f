"""``deepmusic-predict``: what is written, what is told, and how it ends."""

import ast
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deepmusic_genre.client.client import MAX_TOGETHER
from deepmusic_genre.exit_codes import USAGE
from deepmusic_genre.tracks.registry import SOURCES
from deepmusic_genre.tracks.source import endings
from deepmusic_genre.tracks.track import ECHO_NEST
from serving.server.flags import ServerOptions
from tests.conftest import ROOT, free_port
from tests.deepmusic_genre.test_audio_source import sound
from tests.support.command import call, command
from tests.support.endpoints import Endpoints, http_server
from tests.support.serving import running, save_listening
from tests.support.tracks import analysis, write_analysis, write_h5

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMAND = command("predict")
ENDINGS = endings(SOURCES)


def _folder(folder: Path, tracks: int) -> Path:
    for number in range(tracks):
        write_analysis(folder / f"{number:03d}.json", analysis(number))
    return folder


def test_a_folder_of_any_form_is_answered_for_scripts(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_analysis(tmp_path / "deep" / "a.json.gz", analysis(1))
    write_h5(tmp_path / "b.h5", ["TR1", "TR2"])
    (tmp_path / "notes.txt").write_text("nothing")
    assert call("predict", str(tmp_path), "--url", endpoints.http, "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["track_id"] for row in rows] == ["TR1", "TR2", "a"]
    assert [row["title"] for row in rows] == ["Title 0", "Title 1", ""]
    assert call("predict", str(tmp_path), "--url", endpoints.grpc, "--format", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["genre"] for line in lines] == [row["genre"] for row in rows]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4) for line in lines)


def test_people_see_the_title_and_bars(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_h5(tmp_path / "b.h5", ["TR1"])
    assert call("predict", str(file), "--url", endpoints.http) == 0
    shown = capsys.readouterr().out
    assert "Artist 0 - Title 0" in shown
    assert "█" in shown


@pytest.mark.usefixtures("no_network")
def test_sound_is_heard_for_a_model_that_listens_and_an_analysis_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analysed, clip = write_analysis(tmp_path / "a.json", analysis(1)), tmp_path / "clip.wav"
    clip.write_bytes(sound(1))
    save_listening(tmp_path / "models", 1, ECHO_NEST)
    with running(ServerOptions("deepmusic", str(tmp_path / "models"))) as server:
        assert call("predict", str(analysed), str(clip), "--url", server.address) == 1
    shown = capsys.readouterr().err.splitlines()
    refused, unheard = sorted(line for line in shown if line.startswith(str(tmp_path)))
    assert refused == f"{analysed}: this model listens to sound, and an analysis has none: give it the sound file"
    assert unheard.startswith(f"{clip}: the pretrained network that it is asked of cannot be had")


def test_dump_is_answered_track_by_track_and_a_fault_names_its_line(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "dump.jsonl"
    lines.write_text("".join(json.dumps(value) + "\n" for value in (analysis(1) | {"id": "A"}, {}, analysis(2))))
    assert call("predict", str(lines), "--url", endpoints.http, "--format", "csv") == 1
    printed = capsys.readouterr()
    assert [line.partition(",")[0] for line in printed.out.splitlines()[:2]] == ["track_id", "A"]
    assert len(printed.out.splitlines()) == 3
    assert printed.err.startswith(f"{lines}:2: not an audio analysis")


def _genres(answers: Path, form: str) -> list[tuple[str, str, str]]:
    """Tracks, where they were read, and their genres; the probabilities' last digits depend on who was asked with."""
    with answers.open(newline="") as stream:
        rows = csv.DictReader(stream) if form == "csv" else map(json.loads, stream)
        return [(row["track_id"], row["file"], row["genre"]) for row in rows]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_same_call_resumes_in_the_file_of_answers(
    form: str, endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "tracks", 3)
    write_h5(folder / "b.h5", ["TR1", "TR2"])
    (folder / "bad.json").write_text("[1")
    out = tmp_path / "answers"
    arguments = ("predict", str(folder), "--url", endpoints.http, "--format", form, "--out", str(out))
    assert call(*arguments) == 1
    rows = out.read_text().splitlines(keepends=True)
    expected = _genres(out, form)
    header = form == "csv"
    assert len(rows) == 5 + header
    for left in (rows[: 1 + header], rows[: 4 + header]):
        out.write_text("".join(left) + rows[0 + header][:30])  # A row that was not written to its end.
        assert call(*arguments) == 1
        assert _genres(out, form) == expected
    assert call(*arguments) == 1
    assert out.read_text().count("\n") == len(rows)
    assert capsys.readouterr().out == ""


def test_answers_of_another_version_or_model_do_not_go_to_the_same_file(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "tracks", 2)
    out = tmp_path / "answers.csv"
    arguments = ("predict", str(folder), "--url", endpoints.http, "--format", "csv", "--out", str(out))

    def told(content: str) -> str:
        out.write_text(content)
        capsys.readouterr()
        assert call(*arguments) == 1
        assert out.read_text() == content
        return capsys.readouterr().err.replace(str(out), "OUT").replace(endpoints.http, "URL")

    header = "track_id,artist,title,genre,Jazz,sure,familiarity,model_version,file\n"
    assert told(f"{header}a,,,Jazz,1,,,7,a.json\n") == (
        f"URL serves no version 7 of deepmusic; it serves {endpoints.version}.\nThe same command resumes in OUT.\n"
    )
    assert told(f"{header}a,,,Jazz,1,,,{endpoints.version},a.json\n") == (
        "OUT holds answers of another model: choose another file.\n"
    )
    assert "several versions" in told(f"{header}a,,,Jazz,1,,,7,a.json\na,,,Jazz,1,,,8,b.json\n")
    assert "2 columns instead of 9" in told(f"{header}a,b\na,,,Jazz,1,,,7,a.json\n")
    for content in ("a,b\n1,2\n", "no line", "\n", '{"genre": 1}\n', "\x00\n"):
        assert told(content).startswith("OUT does not hold answers as csv (")
    assert call(*arguments[:-4], "--out", str(out)) == USAGE
    out.write_text(f"{header}a,,,Jazz,1,,,7,a.json\n")
    assert call(*arguments, "--version", "8") == 1
    assert "holds answers of version 7: choose another file." in capsys.readouterr().err


def test_whatever_a_title_holds_is_text(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title = 'a\r\nb,"c"\x1b[2J\x00[red]\u202e=1+1'
    track = {**analysis(1), "id": "A", "title": title, "artist": "\ud800\udc00é"}
    file = tmp_path / "a.json"
    file.write_text(json.dumps(track))
    (tmp_path / "bad\x1b.json").write_text("[1")
    asked = ("predict", str(tmp_path), "--url", endpoints.http)
    assert call(*asked) == 1
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert r"a\r\nb," in shown.out
    assert "[red]" in shown.out
    assert r"bad\x1b.json" in shown.err
    assert call(*asked, "--format", "csv") == 1
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert (row["title"], row["file"]) == (title.replace("\r", " ").replace("\x00", " "), str(file))
    assert call(*asked, "--format", "jsonl") == 1
    assert json.loads(capsys.readouterr().out)["title"] == title


def test_a_printed_request_gets_the_answers_that_the_command_gives(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_analysis(tmp_path / "a.json", analysis(1, segments=5))
    write_analysis(tmp_path / "b.json", analysis(2, segments=30))
    assert call("predict", str(tmp_path), "--url", endpoints.http, "--format", "jsonl") == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert call("predict", str(tmp_path), "--print-request") == 0
    request = capsys.readouterr().out
    answers = httpx.post(f"{endpoints.http}/v1/models/deepmusic:predict", content=request).json()["predictions"]
    assert [answer["genre"] for answer in answers] == [line["genre"] for line in expected]
    for answer, line in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(list(line["probabilities"].values()), abs=1e-5)


def test_a_printed_request_is_one_and_its_faults_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path / "many", MAX_TOGETHER + 1)
    assert call("predict", str(folder), "--print-request") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"One request is for {MAX_TOGETHER} tracks at the most: name fewer.\n")
    (folder / "000.json").write_text("[1")
    assert call("predict", str(folder), "--print-request") == 1
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["instances"]) == MAX_TOGETHER
    assert shown.err.startswith(f"{folder / '000.json'}: ")


def test_bad_files_are_told_at_the_end_and_the_others_are_answered(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("[1")
    write_analysis(tmp_path / "good.json", analysis(1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("nothing")
    paths = [str(tmp_path), *(str(tmp_path / name) for name in ("none.json", "x.txt", "empty", f"{'x' * 300}.json"))]
    assert call("predict", *paths, "--url", endpoints.http, "--format", "csv") == 1
    printed = capsys.readouterr()
    assert "good," in printed.out
    faults = printed.err.splitlines()
    assert faults[0].startswith(f"{tmp_path / 'bad.json'}: ")
    assert faults[1].endswith("none.json: cannot be read: No such file or directory")
    assert faults[2].endswith(f"x.txt: its name does not end in {ENDINGS}")
    assert faults[3].endswith(f"empty: no file below it ends in {ENDINGS} (it is empty)")
    assert faults[4].endswith("x.json: cannot be read: File name too long")
    assert len(faults) == 5


def test_no_server_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_analysis(tmp_path / "a.json", analysis(1))
    assert call("predict", str(file), "--url", f"http://127.0.0.1:{free_port()}", "--timeout", "0.5") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("No server answers at http://127.0.0.1:")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_out_is_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("predict", "a.json", "--timeout", seconds) == USAGE
    assert "Invalid value for '--timeout'" in capsys.readouterr().err


def test_whoever_reads_may_stop_reading(endpoints: Endpoints, tmp_path: Path) -> None:
    command = [*COMMAND, str(_folder(tmp_path, 40)), "--url", endpoints.http, "--format", "jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_full_disk_is_one_line(endpoints: Endpoints, tmp_path: Path) -> None:
    command = [*COMMAND, str(_folder(tmp_path, 40)), "--url", endpoints.http, "--format", "csv"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == "The answers cannot be written: No space left on device.\n"
    assert result.returncode == 1


def test_ctrl_c_ends_quietly(endpoints: Endpoints, tmp_path: Path) -> None:
    fifo = tmp_path / "z.json"  # Read after the others, and nobody writes to it.
    os.mkfifo(fifo)
    tracks = _folder(tmp_path / "tracks", MAX_TOGETHER)
    command = [*COMMAND, str(tracks), str(fifo), "--url", endpoints.http, "--format", "csv"]
    # A shell's background job, which the tests may be, hands on a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        writer = os.open(fifo, os.O_WRONLY)  # Waits for the reader, and keeps it waiting.
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        os.close(writer)
    assert err == ""
    assert process.returncode == 130


def _on_terminal(command: list[str]) -> str:
    """What a command writes to standard error, if that is a terminal."""
    ours, theirs = pty.openpty()
    shown = bytearray()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs):
        os.close(theirs)
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # The other side is closed.
                os.close(ours)
                return shown.decode()


def test_a_terminal_shows_how_far_a_folder_is(endpoints: Endpoints, tmp_path: Path) -> None:
    folder = _folder(tmp_path, 3 * MAX_TOGETHER)
    (folder / "bad.json").write_text("[1")
    shown = _on_terminal([*COMMAND, str(folder), "--url", endpoints.http, "--format", "csv"])
    assert "0 of 49 files" in shown
    assert "48 of 49 files" in shown
    # The bar is gone when the bad file is told.
    assert shown.rpartition("\x1b[2K")[2].startswith(f"{folder / 'bad.json'}: ")
    few = _on_terminal([*COMMAND, str(folder / "000.json"), "--url", endpoints.http, "--format", "csv"])
    assert few == ""


def test_a_terminal_shows_that_grpc_is_loaded_and_nothing_of_tensorflow(endpoints: Endpoints, tmp_path: Path) -> None:
    file = write_analysis(tmp_path / "a.json", analysis(1))
    shown = _on_terminal([*COMMAND, str(file), "--url", endpoints.grpc])
    assert "loading gRPC" in shown
    assert "tensorflow" not in shown.lower()
    assert "oneDNN" not in shown


@pytest.mark.slow
def test_memory_does_not_grow_with_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def peak(tracks: int) -> int:
        probabilities = [[0.75, 0.25]] * MAX_TOGETHER
        names = {"genre": ["Jazz"] * MAX_TOGETHER, "genres": [["Jazz", "Rock"]] * MAX_TOGETHER}
        answer = json.dumps({"outputs": {**names, "probabilities": probabilities}}).encode()
        with http_server([(200, answer)] * (tracks // MAX_TOGETHER)) as url:
            tracemalloc.start()
            assert call("predict", *[str(tmp_path)] * (tracks // MAX_TOGETHER), "--url", url, "--format", "csv") == 0
            reached = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert len(capsys.readouterr().out.splitlines()) == tracks + 1
        return reached

    for number in range(MAX_TOGETHER):
        write_analysis(tmp_path / f"{number:03d}.json", analysis(number, segments=200))
    peak(MAX_TOGETHER)
    # So many that as many requests as may be are under way in both; how many of them at one moment is chance.
    assert peak(48 * MAX_TOGETHER) < 2 * peak(12 * MAX_TOGETHER)


def test_the_installed_package_imports_what_is_declared_for_it_alone() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = declared["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {file for package in wheel["packages"] for file in (ROOT / package).rglob("*.py")}
    files -= {ROOT / path for path in wheel["exclude"]}
    imported = {name for file in files for name in _imports(file)}
    own = {name for name in imported if name.split(".")[0] in wheel["packages"]}
    there = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    assert own <= there
    packages = {name.split(".")[0] for name in imported - own} - set(sys.stdlib_module_names)
    # For gRPC, and for files compressed by zstd: whoever wants these is told what to install.
    if_asked_for = {"grpc", "tensorflow", "tensorflow_serving", "pyarrow"}
    distributions = {"google": "protobuf"}
    needed = {distributions.get(name, name) for name in packages - if_asked_for}
    asked = (*declared["project"]["dependencies"], *declared["project"]["optional-dependencies"]["audio"])
    assert needed == {re.split("[<>=]", each)[0] for each in asked}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            yield node.module


def test_the_command_starts_without_tensorflow() -> None:
    loaded = "[name for name in sys.modules if name.startswith('tensor')]"
    code = f"import sys, deepmusic_genre.cli; print({loaded})"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
