"""What the DAG's tasks run, in processes of their own as they do."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.airflow.steps import FAILURE, FAULT
from tests.conftest import ROOT
from tests.tracks import write_catalogue

DAG_FILE = ROOT / "pipeline" / "airflow" / "dags" / "deepmusic.py"


def _step(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.airflow.steps", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("airflow")
    data, labels = write_catalogue(folder)
    return ["--data", str(data), "--labels", str(labels), "--name", "dag", f"output={folder / 'output'}"]


@pytest.fixture(scope="module")
def home(options: list[str]) -> Path:
    return Path(options[-1].removeprefix("output=")) / "dag"


@pytest.fixture(scope="module")
def run(options: list[str], home: Path) -> Path:
    file = home / "runs" / "one.pb"
    begun = _step("begin", "--run", str(file), "--run-id", "one", *options)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    return file


def test_the_dag_is_described_with_what_each_component_waits_for(options: list[str], home: Path) -> None:
    described = home / "dag.json"
    assert _step("describe", "--dag", str(described), *options, "airflow.schedule=0 3 * * *").returncode == 0
    dag = json.loads(described.read_text())
    upstream = {node["id"]: node["upstream"] for node in dag["nodes"]}
    assert upstream["StatisticsGen"] == ["TrackExampleGen"]
    assert {"ModelCheck", "ModelValidator"} <= set(upstream["Pusher"])
    assert (dag["name"], dag["home"], dag["schedule"]) == ("dag", str(home), "0 3 * * *")
    assert dag["parameters"]["data"] == options[1]
    assert {node["id"] for node in dag["nodes"] if node["heavy"]} >= {"Transform", "Trainer-c1m1", "Evaluator-tangent"}


def test_components_of_one_run_take_each_others_outputs(run: Path, home: Path) -> None:
    for component in ("TrackExampleGen", "StatisticsGen"):
        done = _step("node", "--run", str(run), component)
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[-1].startswith(component)
    assert list((home / "artifacts" / "StatisticsGen" / "statistics").glob("*/Split-train/FeatureStats.pb"))


def test_a_fault_of_the_input_is_not_tried_again_and_says_what_it_is(options: list[str], home: Path) -> None:
    gone = [*options[:1], str(home / "nowhere"), *options[2:]]
    file = home / "runs" / "gone.pb"
    assert _step("begin", "--run", str(file), "--run-id", "gone", *gone).returncode == 0
    failed = _step("node", "--run", str(file), "TrackExampleGen")
    assert failed.returncode == FAULT
    assert f"TrackExampleGen: The data folder {home / 'nowhere'} is not there." in failed.stdout


def test_what_is_no_fault_of_the_input_may_be_tried_again(run: Path) -> None:
    failed = _step("node", "--run", str(run), "AnomalyGate")
    assert failed.returncode == FAILURE
    assert "AnomalyGate: failed" in failed.stdout


def test_a_component_that_the_runs_settings_do_not_make_is_named(run: Path) -> None:
    failed = _step("node", "--run", str(run), "Trainer-c2m1")
    assert failed.returncode == FAULT
    assert "make no Trainer-c2m1" in failed.stdout


def test_settings_of_another_folder_are_refused(options: list[str], home: Path) -> None:
    failed = _step("begin", "--run", str(home / "runs" / "x.pb"), "--run-id", "x", *options, f"output={home}")
    assert failed.returncode == FAULT
    assert "the DAG was described for" in failed.stdout


def test_the_dag_file_imports_nothing_but_airflow_and_python() -> None:
    tree = ast.parse(DAG_FILE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in imported if name.partition(".")[0] not in {*sys.stdlib_module_names, "airflow"}}
    assert foreign == set()
