"""What the DAG's tasks run, in processes of their own as they do, and the DAG file."""

import ast
import json
import sys
from pathlib import Path

import pytest

from pipeline.airflow.steps import FAILURE, FAULT, FORMAT
from tests.airflow_steps import Steps, steps_of
from tests.conftest import ROOT

DAG_FILE = ROOT / "pipeline" / "airflow" / "dags" / "deepmusic.py"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return steps_of(tmp_path_factory.mktemp("airflow"), "airflow.schedule=0 3 * * *")


@pytest.fixture(scope="module")
def run(steps: Steps) -> Path:
    return steps.begun("one")


def test_the_dag_is_described_with_what_each_component_waits_for(steps: Steps) -> None:
    dag = json.loads(steps.dag.read_text())
    upstream = {node["id"]: node["upstream"] for node in dag["nodes"]}
    assert upstream["StatisticsGen"] == ["TrackExampleGen"]
    assert {"ModelCheck", "ModelValidator"} <= set(upstream["Pusher"])
    assert (dag["name"], dag["home"], dag["schedule"]) == ("dag", str(steps.home), "0 3 * * *")
    assert dag["parameters"]["data"] == steps.options[1]
    assert {node["id"] for node in dag["nodes"] if node["heavy"]} >= {"Transform", "Trainer-c1m1", "Evaluator-tangent"}


def test_components_of_one_run_take_each_others_outputs(steps: Steps, run: Path) -> None:
    for component in ("TrackExampleGen", "StatisticsGen"):
        done = steps.node(run, component)
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[-1].startswith(component)
    assert list((steps.home / "artifacts" / "StatisticsGen" / "statistics").glob("*/Split-train/FeatureStats.pb"))


def test_a_fault_of_the_input_is_not_tried_again_and_says_what_it_is(steps: Steps) -> None:
    nowhere = steps.home / "nowhere"
    assert steps.begin("gone", f"--data={nowhere}").returncode == 0
    failed = steps.node(steps.file("gone"), "TrackExampleGen")
    assert failed.returncode == FAULT
    assert f"TrackExampleGen: The data folder {nowhere} is not there." in failed.stdout


def test_what_is_no_fault_of_the_input_may_be_tried_again(steps: Steps, run: Path) -> None:
    failed = steps.node(run, "AnomalyGate")
    assert failed.returncode == FAILURE
    assert "AnomalyGate: failed" in failed.stdout


def test_a_component_that_the_runs_settings_do_not_make_is_named(steps: Steps, run: Path) -> None:
    failed = steps.node(run, "Trainer-c2m1")
    assert failed.returncode == FAULT
    assert "make no Trainer-c2m1" in failed.stdout


def test_a_run_that_never_began_is_named(steps: Steps) -> None:
    failed = steps.node(steps.file("never"), "TrackExampleGen")
    assert failed.returncode == FAULT
    assert f"{steps.file('never')}, which the task begin wrote, is not there" in failed.stdout


def test_settings_of_another_folder_are_refused(steps: Steps) -> None:
    failed = steps.begin("x", f"output={steps.home}")
    assert failed.returncode == FAULT
    assert "the DAG was described for" in failed.stdout


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ("training.models=[c1m1,c2m1]", "make Trainer-c2m1, Evaluator-c2m1, and make no Trainer-tangent, Evaluator-"),
        ("training.sampling=downsampled", "make Sampler;"),
    ],
    ids=["models", "sampling"],
)
def test_a_run_of_other_components_is_refused_at_its_beginning(settings: str, difference: str, steps: Steps) -> None:
    failed = steps.begin("other", settings)
    assert failed.returncode == FAULT
    assert f"The run's settings {difference}" in failed.stdout
    assert not steps.file("other").exists()


def test_the_dag_file_imports_nothing_but_airflow_and_python() -> None:
    tree = ast.parse(DAG_FILE.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in imported if name.partition(".")[0] not in {*sys.stdlib_module_names, "airflow"}}
    assert foreign == set()


def test_the_dag_file_reads_what_is_written() -> None:
    tree = ast.parse(DAG_FILE.read_text())
    formats = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_FORMAT"
    ]
    assert formats == [FORMAT]
