"""What ``make kill-runs`` takes for a difference."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FinishedRun, artifacts
from tools.kill_runs import differences

pytestmark = pytest.mark.slow


def _weights(home: Path) -> None:
    (file,) = home.glob("pushed/*/variables/*.data-*")
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def _leftover(home: Path) -> None:
    artifacts(home, "Transform", "transform_graph")[0].with_name("99").mkdir()


def _score(home: Path) -> None:
    (file,) = home.glob("artifacts/*/ReportGen/report/*/report.json")
    report = json.loads(file.read_text())
    file.write_text(json.dumps({**report, "selected": "another"}))


def _second_push(home: Path) -> None:
    (version,) = home.glob("pushed/*")
    shutil.copytree(version, version.with_name(f"{version.name}0"))


def _graph(home: Path) -> None:
    (file,) = home.glob("pushed/*/saved_model.pb")
    file.write_bytes(b"written anew")


def _taken_over(home: Path) -> None:
    (file,) = home.glob("artifacts/*/ReportGen/report/*/report.json")
    report = json.loads(file.read_text())
    report["data"]["ingest"]["new"] -= 1
    file.write_text(json.dumps(report))


@pytest.fixture(scope="module")
def alone(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of one run, whatever other tests have done in it since."""
    home = tmp_path_factory.mktemp("kills") / "alone"
    places = [max(finished_run.home.glob("pushed/[0-9]*"))]
    places += [finished_run.artifact("ReportGen", "report"), finished_run.artifact("Predictor", "predictions")]
    places += [finished_run.artifact("Transform", "transform_graph")]
    for place in places:
        shutil.copytree(place, home / place.relative_to(finished_run.home))
    return home


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_graph, []),
        (_weights, ["the pushed model's weights: pushed/variables/variables.data-00000-of-00001 differs"]),
        (_second_push, ["1 too many in pushed"]),
        (_score, ["the reports differ in selected"]),
        (_leftover, ["1 too many in artifacts/Transform/transform_graph"]),
        (_taken_over, []),
    ],
    ids=["the graph's bytes", "weights", "a second push", "a report", "what a killed run left", "what it had read"],
)
def test_differences_are_told(change: Callable[[Path], None], told: list[str], alone: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(alone, killed)
    change(killed)
    assert list(differences(alone, killed)) == told
