"""The DAG file, as Airflow reads it in its own environment."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.airflow.start import StepFailed, airflow_settings, require_dag
from pipeline.airflow.steps import FORMAT
from tests.conftest import ROOT
from tests.pipeline.test_airflow import DAG_FILE

AIRFLOW_PYTHON = ROOT / ".venv" / "airflow" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="make airflow-test sets up Airflow's environment"),
]

_CASES = """
import json, os, runpy, sys
from airflow.dag_processing.dagbag import DagBag

def parsed(file):
    bag = DagBag(file, collect_dags=True)
    found = [task for dag in bag.dags.values() for task in dag.tasks]
    tasks = {task.task_id: [sorted(task.upstream_task_ids), task.pool] for task in found}
    return {"errors": list(bag.import_errors.values()), "tasks": tasks}

def step(file):
    try:
        runpy.run_path(file)["_step"]("begin")
    except SystemExit as ended:
        return f"{type(ended).__name__}: {ended.code}"

answers = []
for do, variables in json.loads(sys.argv[2]):
    os.environ.update(variables)
    answers.append({"parse": parsed, "step": step}[do](sys.argv[1]))
    for name in variables:
        del os.environ[name]
print(json.dumps(answers))
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


_BROKEN = {
    "no variable of the dag": ("DEEPMUSIC_DAG", None, "DEEPMUSIC_DAG is not set in the environment of Airflow's"),
    "no variable of the python": ("DEEPMUSIC_PYTHON", None, "DEEPMUSIC_PYTHON is not set in the environment of"),
    "no file": ("DEEPMUSIC_DAG", "", "DEEPMUSIC_DAG = {file} cannot be read: No such file or directory. `deep"),
    "no JSON": ("DEEPMUSIC_DAG", "{", "DEEPMUSIC_DAG = {file} is no description of a DAG: it is not JSON. `deep"),
    "another version": ("DEEPMUSIC_DAG", '{"name": "old"}', "DEEPMUSIC_DAG = {file} is of another version of the pro"),
}
_STEPS = {
    "refused": ("echo why; echo log: there; exit 1", "_StepRefused: why"),
    "failed": ("echo why; exit 75", "_StepFailed: why"),
    "killed": ("kill -9 $$", "_StepFailed: begin was ended by SIGKILL"),
    "killed, and what it has started goes on": ("sleep 600 & kill -9 $$", "_StepFailed: begin was ended by SIGKILL"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dag")


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Any]:
    """What Airflow makes of the DAG file, and of a step, in each case; it takes seconds to import."""
    dag = folder / "dag.json"
    dag.write_text(json.dumps(_DESCRIBED))
    variables = {"DEEPMUSIC_DAG": str(dag), "DEEPMUSIC_PYTHON": "/no/such/python"}
    cases: dict[str, tuple[str, dict[str, str]]] = {"whole": ("parse", variables), "no python": ("step", variables)}
    for name, (variable, content, _) in _BROKEN.items():
        given = folder / f"{name}.json"
        if content:
            given.write_text(content)
        others = {key: value for key, value in variables.items() if key != variable}
        cases[name] = ("parse", others if content is None else {**others, variable: str(given)})
    for name, (script, _) in _STEPS.items():
        python = folder / name
        # setsid, as a step makes a group of its own of itself.
        python.write_text(f"#!/bin/sh\nexec setsid /bin/sh -c '{script}'\n")
        python.chmod(0o755)
        cases[name] = ("step", {**variables, "DEEPMUSIC_PYTHON": str(python)})
    known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DEEPMUSIC"))}
    ours = {"AIRFLOW_HOME": str(folder), "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "False"}
    command = [str(AIRFLOW_PYTHON), "-c", _CASES, str(DAG_FILE), json.dumps(list(cases.values()))]
    done = subprocess.run(command, env={**known, **ours}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_a_task_waits_for_what_its_component_reads(answers: dict[str, Any]) -> None:
    assert answers["whole"] == {
        "errors": [],
        "tasks": {
            "begin": [[], "default_pool"],
            "TrackExampleGen": [["begin"], "heavy"],
            "StatisticsGen": [["TrackExampleGen"], "default_pool"],
            "conclude": [["StatisticsGen", "TrackExampleGen"], "default_pool"],
        },
    }


@pytest.mark.parametrize("case", _BROKEN)
def test_what_is_missing_is_the_import_error_in_one_line(case: str, answers: dict[str, Any], folder: Path) -> None:
    (error,) = answers[case]["errors"]
    assert error.startswith(_BROKEN[case][2].format(file=folder / f"{case}.json"))
    assert "\n" not in error


def test_a_schedule_that_is_none_is_said_before_airflow_starts(tmp_path: Path) -> None:
    airflow, dag = tmp_path / "airflow", tmp_path / "dag.json"
    # An environment that was made elsewhere has commands that name the Python there.
    airflow.write_text(f'#!/bin/sh\nexec {AIRFLOW_PYTHON} -m airflow "$@"\n')
    airflow.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG_FILE.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "DEEPMUSIC_DAG": str(dag),
        "DEEPMUSIC_PYTHON": "/no/such/python",
    }
    dag.write_text(json.dumps({**_DESCRIBED, "schedule": "tomorrow"}))
    with pytest.raises(StepFailed, match="migrat"):
        require_dag("tomorrow", environment)
    subprocess.run([airflow, "db", "migrate"], env=environment, capture_output=True, check=True)
    with pytest.raises(StepFailed) as failed:
        require_dag("tomorrow", environment)
    line = str(failed.value)
    assert line.startswith("Airflow makes no DAG of these settings, with airflow.schedule = 'tomorrow': AirflowTime")
    assert "\n" not in line
    dag.write_text(json.dumps({**_DESCRIBED, "schedule": "@daily"}))
    require_dag("@daily", environment)


def test_a_python_that_is_not_there_is_named_and_not_tried_again(answers: dict[str, Any]) -> None:
    message = "DEEPMUSIC_PYTHON = /no/such/python cannot be run: No such file or directory."
    assert answers["no python"] == f"_StepRefused: {message}"


@pytest.mark.parametrize("case", _STEPS)
def test_a_step_says_how_it_ended(case: str, answers: dict[str, Any]) -> None:
    assert answers[case] == _STEPS[case][1]


def test_tasks_ask_the_server_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "from airflow.configuration import conf; print(conf.get('core', 'execution_api_server_url'))"
    for port in ("8080", "8097"):
        monkeypatch.setenv("AIRFLOW__API__PORT", port)
        environment = {**os.environ, **airflow_settings(tmp_path, tmp_path / "dag.json", Path("python"))}
        command = [str(AIRFLOW_PYTHON), "-c", asked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == f"http://127.0.0.1:{port}/execution/"
