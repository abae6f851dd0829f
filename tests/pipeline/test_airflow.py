"""What the DAG's tasks run, in processes of their own as they do, and the DAG file."""

import ast
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tfx.dsl.compiler.compiler import Compiler

from components.storage.staging import Copies
from pipeline.airflow.steps import FAILURE, FAULT, FORMAT
from pipeline.run.command_line import settings_of
from pipeline.run.launch import launch, outputs_of_run
from pipeline.run.local_runner import name_run
from pipeline.run.preparation import prepare
from tests.conftest import ROOT, FinishedRun, artifacts
from tests.support.airflow_steps import Steps, is_alive, steps_of
from tests.support.command import given

pytestmark = pytest.mark.slow

DAG_FILE = ROOT / "pipeline" / "airflow" / "dags" / "deepmusic.py"


_UP_TO_TRANSFORM = ["TrackExampleGen", "StatisticsGen", "SchemaImport", "ExampleValidator", "AnomalyGate", "Transform"]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    endless = ("models.c1m1.epochs=100000", "models.c1m1.patience=100000")
    return steps_of(tmp_path_factory.mktemp("airflow"), "airflow.schedule=0 3 * * *", *endless)


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
    assert {node["id"] for node in dag["nodes"] if node["heavy"]} >= {"Transform", "Trainer-c1m1", "Trainer-tangent"}


def test_components_of_one_run_take_each_others_outputs(steps: Steps, run: Path) -> None:
    for component in ("TrackExampleGen", "StatisticsGen"):
        done = steps.node(run, component)
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[-1].startswith(component)
    assert list(steps.home.glob("artifacts/*/StatisticsGen/statistics/*/Split-train/FeatureStats.pb"))
    again = steps.node(run, "StatisticsGen")
    assert re.search(r"^StatisticsGen +\d+\.\d s  from the cache$", again.stdout, re.MULTILINE)


def test_a_fault_of_the_input_is_not_tried_again_and_says_what_it_is(steps: Steps) -> None:
    nowhere = steps.home / "nowhere"
    assert steps.begin("gone", f"--data={nowhere}").returncode == 0
    failed = steps.node(steps.file("gone"), "TrackExampleGen")
    assert failed.returncode == FAULT
    assert f"TrackExampleGen: The data folder {nowhere} is not there." in failed.stdout


def test_a_run_that_failed_is_concluded_with_the_reason(steps: Steps) -> None:
    file = steps.file("concluded")
    file.parent.mkdir(exist_ok=True)
    file.with_suffix(".AnomalyGate.json").write_text(
        json.dumps({"components": ["AnomalyGate"], "reasons": ["Two anomalies."], "gate": True})
    )
    concluded = steps.conclude(file)
    assert concluded.returncode == FAULT
    assert "AnomalyGate: Two anomalies.\ngate: AnomalyGate kept the model from being pushed\n" in concluded.stdout


def test_a_component_that_fails_notes_why_until_it_succeeds(steps: Steps, run: Path) -> None:
    (note,) = steps.file("gone").parent.glob("gone.*.json")
    noted = json.loads(note.read_text())
    assert (noted["components"], noted["gate"]) == (["TrackExampleGen"], False)
    assert "nowhere is not there" in noted["reasons"][0]
    assert not list(run.parent.glob("one.TrackExampleGen.json"))


def test_a_run_that_came_to_its_end_is_concluded_from_its_metadata(finished_run: FinishedRun) -> None:
    steps = Steps(finished_run.arguments, finished_run.home)
    nobody: Any = SimpleNamespace(moment=print)
    with finished_run.alone():
        compiled = Compiler().compile(prepare(settings_of(given(finished_run.arguments)), nobody))
        name_run(compiled, "whole")
        for node in compiled.nodes:
            assert outputs_of_run(compiled).keys() < {each.pipeline_node.node_info.id for each in compiled.nodes}
            launch(compiled, node.pipeline_node, Copies(finished_run.home / "copies"))
        file = steps.file("whole")
        file.parent.mkdir()
        file.write_bytes(compiled.SerializeToString(deterministic=True))
        concluded = steps.conclude(file)
        assert concluded.returncode == 0, concluded.stdout
    assert f"Pushed to {finished_run.home / 'pushed'}" in concluded.stdout


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


def test_a_run_of_other_components_is_refused_at_its_beginning(steps: Steps) -> None:
    failed = steps.begin("other", "training.models=[c1m1,c2m1]", "training.sampling=downsampled")
    assert failed.returncode == FAULT
    more, less = "Sampler, Trainer-c2m1", "Trainer-ear, Trainer-tangent, Refitter"
    assert f"The run's settings make {more}, and make no {less}; the DAG was described for others." in failed.stdout
    assert not steps.file("other").exists()
    noted = json.loads(steps.file("other").with_suffix(".begin.json").read_text())
    assert noted["components"] == []
    assert noted["reasons"][0].startswith(f"The run's settings make {more}")


def _wait_until_gone(process: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while is_alive(process):
        assert time.monotonic() < end, f"{process} goes on"
        time.sleep(0.1)


@contextmanager
def _training(steps: Steps, run: Path) -> Iterator[subprocess.Popen[str]]:
    """A step in the middle of a training that would go on for hours."""
    command = steps.command("node", "--run", str(run), "Trainer-c1m1")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        seen = ""
        while "epoch   2" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        yield process
        process.kill()


def test_a_step_ends_with_its_caller_and_the_next_try_starts_from_nothing(steps: Steps, run: Path) -> None:
    steps.nodes(run, *_UP_TO_TRANSFORM)
    for _ in ("first try", "second try"):
        with _training(steps, run) as process:
            (folder,) = artifacts(steps.home, "Trainer-c1m1", "model")
            assert not (folder / "half.txt").exists()
            (folder / "half.txt").write_text("what the killed execution had written")
            assert process.stdin is not None
            process.stdin.close()
            _wait_until_gone(process.pid)
        assert process.returncode == -signal.SIGKILL
    # Killed twice, and TFX has not told of the second time.
    with _training(steps, run):
        assert not list(steps.home.rglob("half.txt"))


def test_a_second_execution_of_a_component_waits_for_the_first(steps: Steps, run: Path) -> None:
    (steps.home / "locks").mkdir(exist_ok=True)
    with (steps.home / "locks" / "SchemaImport").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = steps.command("node", "--run", str(run), "SchemaImport")
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            told = process.stdout.readline()
            assert f"Another execution of SchemaImport writes to {steps.home}; waiting for it to end" in told
            assert process.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            rest = process.stdout.read()
    assert process.returncode == 0, rest


def test_what_a_step_has_started_ends_with_it(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys, time; from pipeline.checks.orphans import end_with_stdin; end_with_stdin();"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        assert os.getpgid(child) == process.pid
        process.stdin.close()
        _wait_until_gone(child)
        assert process.wait(30) == -signal.SIGKILL


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
