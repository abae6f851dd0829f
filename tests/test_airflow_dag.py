"""The DAG file, as Airflow reads it in its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipeline.airflow.steps import FORMAT
from tests.conftest import ROOT
from tests.test_airflow import DAG_FILE

AIRFLOW_PYTHON = ROOT / ".venv" / "airflow" / "bin" / "python"

pytestmark = pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="make airflow-test sets up Airflow's environment")

_PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], collect_dags=True)
tasks = {task.task_id: [sorted(task.upstream_task_ids), task.pool] for dag in bag.dags.values() for task in dag.tasks}
print(json.dumps({"errors": list(bag.import_errors.values()), "tasks": tasks}))
"""
_STEP = """
import sys, runpy
try:
    runpy.run_path(sys.argv[1])["_step"](*sys.argv[2:])
except SystemExit as ended:
    print(f"{type(ended).__name__}: {ended.code}")
"""
_DESCRIBED = {
    "format": FORMAT,
    "name": "small",
    "home": "/home/of/small",
    "run_name": None,
    "parameters": {"settings": None, "data": None, "labels": None, "set": []},
    "heavy_pool": "heavy",
    "heavy_slots": 1,
    "nodes": [
        {"id": "TrackExampleGen", "upstream": [], "heavy": True},
        {"id": "StatisticsGen", "upstream": ["TrackExampleGen"], "heavy": False},
    ],
    "schedule": None,
    "retries": 2,
}


def _in_airflow(home: Path, source: str, *arguments: str, **variables: str) -> str:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DEEPMUSIC"))}
    ours = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "False"}
    command = [str(AIRFLOW_PYTHON), "-c", source, str(DAG_FILE), *arguments]
    done = subprocess.run(
        command, env={**known, **ours, **variables}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def described(tmp_path: Path) -> dict[str, str]:
    dag = tmp_path / "dag.json"
    dag.write_text(json.dumps(_DESCRIBED))
    return {"DEEPMUSIC_DAG": str(dag), "DEEPMUSIC_PYTHON": "/no/such/python"}


def test_a_task_waits_for_what_its_component_reads(described: dict[str, str], tmp_path: Path) -> None:
    parsed = json.loads(_in_airflow(tmp_path, _PARSE, **described))
    assert parsed == {
        "errors": [],
        "tasks": {
            "begin": [[], "default_pool"],
            "TrackExampleGen": [["begin"], "heavy"],
            "StatisticsGen": [["TrackExampleGen"], "default_pool"],
        },
    }


@pytest.mark.parametrize(
    ("variable", "content", "message"),
    [
        ("DEEPMUSIC_DAG", None, "DEEPMUSIC_DAG is not set in the environment of Airflow's processes."),
        ("DEEPMUSIC_PYTHON", None, "DEEPMUSIC_PYTHON is not set in the environment of Airflow's processes."),
        ("DEEPMUSIC_DAG", "", "DEEPMUSIC_DAG = {file} cannot be read: No such file or directory. make airflow, or "),
        ("DEEPMUSIC_DAG", "{", "DEEPMUSIC_DAG = {file} is no description of a DAG: it is not JSON. make airflow, or "),
        ("DEEPMUSIC_DAG", '{"name": "old"}', "DEEPMUSIC_DAG = {file} is of another version of the project. make "),
    ],
    ids=["no variable of the dag", "no variable of the python", "no file", "no JSON", "another version"],
)
def test_what_is_missing_is_the_import_error_in_one_line(
    variable: str, content: str | None, message: str, described: dict[str, str], tmp_path: Path
) -> None:
    if content is None:
        del described[variable]
    else:
        described[variable] = str(tmp_path / "given.json")
    if content:
        (tmp_path / "given.json").write_text(content)
    (error,) = json.loads(_in_airflow(tmp_path, _PARSE, **described))["errors"]
    assert error.startswith(message.format(file=tmp_path / "given.json"))
    assert "\n" not in error


def test_a_python_that_is_not_there_is_named_and_not_tried_again(described: dict[str, str], tmp_path: Path) -> None:
    ended = _in_airflow(tmp_path, _STEP, "begin", **described)
    assert ended == "_StepRefused: DEEPMUSIC_PYTHON = /no/such/python cannot be run: No such file or directory."


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("echo why; echo log: there; exit 1", "_StepRefused: why"),
        ("echo why; exit 75", "_StepFailed: why"),
        ("kill -9 $$", "_StepFailed: begin was ended by SIGKILL"),
        ("sleep 600 & kill -9 $$", "_StepFailed: begin was ended by SIGKILL"),
    ],
    ids=["refused", "failed", "killed", "killed, and what it has started goes on"],
)
def test_a_step_says_how_it_ended(script: str, ended: str, described: dict[str, str], tmp_path: Path) -> None:
    python = tmp_path / "python"
    # setsid, as a step makes a group of its own of itself.
    python.write_text(f"#!/bin/sh\nexec setsid /bin/sh -c '{script}'\n")
    python.chmod(0o755)
    described["DEEPMUSIC_PYTHON"] = str(python)
    assert _in_airflow(tmp_path, _STEP, "begin", **described) == ended
