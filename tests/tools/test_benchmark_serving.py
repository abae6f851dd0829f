"""``make benchmark-serving``."""

import http.server
import threading
from pathlib import Path

import pytest

from tests.conftest import FinishedRun
from tools.benchmark_serving import CONNECTIONS, EXAMPLES, GRPC, IN_PROCESS, ROWS, Length, main
from tools.serving_load import HOST, LoadError, Target, clients, load

pytestmark = pytest.mark.slow


def test_the_table_has_every_way_of_asking(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"output: {finished_run.home.parent}\n")
    arguments = ["--settings", str(settings), "--name", "small", "--data", str(finished_run.data)]
    assert main(arguments, Length(rounds=2, seconds=0.1)) == 0
    printed = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    ways = [(name, connections) for connections in CONNECTIONS for name in (IN_PROCESS, ROWS, EXAMPLES, GRPC)]
    assert [(row[1], int(row[0])) for row in cells] == ways
    for _, way, median, last, _, slower, throughput in cells:
        assert 0 < float(median) <= float(last)
        assert (float(slower) == float(throughput) == 1) == (way == IN_PROCESS)


def test_without_a_model_or_tracks_a_line_says_what_to_do(
    finished_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"output: {tmp_path}\n")
    assert main(["--settings", str(settings)]) == 1
    assert "`deepmusic run` pushes one" in capsys.readouterr().err
    settings.write_text(f"output: {finished_run.home.parent}\nname: small\n")
    for folder, words in ((tmp_path / "none", "is not there"), (tmp_path, "No track could be read below")):
        assert main(["--settings", str(settings), "--data", str(folder)]) == 1
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1


def test_a_request_that_fails_is_told() -> None:
    with (
        http.server.HTTPServer((HOST, 0), http.server.BaseHTTPRequestHandler) as server,
        clients({"a": [b"{}"]}) as pool,
    ):
        threading.Thread(target=server.serve_forever).start()
        with pytest.raises(LoadError, match="the server answered 501 to a"):
            load(pool, Target("a", server.server_port, "/v1"), 1, 0.1)
        server.shutdown()
