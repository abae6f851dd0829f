"""``deepmusic airflow``: real Airflow on this machine, with the pipeline as its DAG.

Makes Airflow's environment, describes the DAG with TFX's and runs Airflow with its own.
Airflow's database is SQLite below ``output/``, or what ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from deepmusic_genre.cli import Given, options_of
from deepmusic_genre.exit_codes import FAULT
from deepmusic_genre.process import exit_code_of, words_for
from pipeline.airflow.services import SERVICES, PortTaken, supervise

ROOT = Path(__file__).resolve().parents[2]
DAG_FILE = ROOT / "pipeline" / "airflow" / "dags" / "deepmusic.py"

_TASK_ENDED = re.compile(r"\[DAG TEST\] end task task_id=(\S+)")
_TASKS_ADDRESS = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"


class StepFailed(Exception):
    """A command of ours ended badly, and has said why."""


def start(mode: Literal["serve", "test"], given: Given) -> int:
    """Starts Airflow, or runs the whole DAG once.

    Args:
        mode: Which of the two.
        given: What the pipeline is described by.

    Returns:
        0 if Airflow was stopped, or every task of the test succeeded.
    """
    home = ROOT / "output" / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    dag = home / "dag.json"
    try:
        tfx, airflow = Path(sys.executable), Path(_output("python3", "tools/environment.py", "airflow"))
        _run(str(tfx), "-m", "pipeline.airflow.steps", "describe", "--dag", str(dag), *options_of(given))
        described = json.loads(dag.read_text(encoding="utf-8"))
        path = {"PATH": f"{airflow.parent}{os.pathsep}{os.environ['PATH']}"}
        environment = {**os.environ, **airflow_settings(home, dag, tfx), **path}
        _quietly(home, environment, "db", "migrate")
        require_dag(described["schedule"], environment)
        slots = str(described["heavy_slots"])
        _quietly(
            home, environment, "pools", "set", described["heavy_pool"], slots, "steps that need gigabytes or all cores"
        )
        if mode == "test":
            return _test(described["name"], home, environment)
        address = _address(environment)
        print(f"Airflow with the DAG {described['name']}: {address}, its log follows", flush=True)
        supervise(SERVICES, environment, address)
    except (StepFailed, PortTaken) as failure:
        if str(failure):
            print(failure, file=sys.stderr)
        return FAULT
    except KeyboardInterrupt as stop:
        print(words_for(stop), file=sys.stderr)
        return exit_code_of(stop)
    return 0


def require_dag(schedule: str | None, environment: Mapping[str, str]) -> None:
    """Has Airflow read the DAG file once: it would come up without the DAG, and without a word of it.

    Args:
        schedule: what runs are started by, which is Airflow's to understand.
        environment: that of its processes.

    Raises:
        StepFailed: it makes no DAG of the file; with its reason, in a line.
    """
    command = ["airflow", "dags", "list-import-errors", "--local", "--output", "json"]
    listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if not listed.returncode:
        return
    try:
        faults = _rows(listed.stdout)
    except ValueError:
        raise StepFailed(listed.stderr) from None
    for fault in faults:
        if fault["filepath"] == str(DAG_FILE):
            reason = fault["error"].strip().splitlines()[-1]
            raise StepFailed(f"Airflow makes no DAG of these settings, with airflow.schedule = {schedule!r}: {reason}")


def airflow_settings(home: Path, dag: Path, tfx: Path) -> dict[str, str]:
    """Airflow's configuration, and what the DAG file asks for; what this process's environment sets goes first.

    Args:
        home: Airflow's folder.
        dag: the DAG's description.
        tfx: the Python of TFX's environment.
    """
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG_FILE.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # A process each, and no more steps can be side by side in this DAG than that.
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": "8080",
        # Tasks outlive a database that is away for minutes: what they have done is reported when it is back.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "30",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
        # The line that a DAG file gives as its import error, without Airflow's trace to it.
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "DEEPMUSIC_DAG": str(dag),
        "DEEPMUSIC_PYTHON": str(tfx),
    }
    settings = {name: os.environ.get(name, value) for name, value in ours.items()}
    # Tasks would ask for port 8080, whatever the server's is.
    tasks = os.environ.get(_TASKS_ADDRESS, f"{_address(settings)}/execution/")
    return {**settings, _TASKS_ADDRESS: tasks}


def _address(settings: Mapping[str, str]) -> str:
    return f"http://{settings['AIRFLOW__API__HOST']}:{settings['AIRFLOW__API__PORT']}"


def _test(name: str, home: Path, environment: Mapping[str, str]) -> int:
    log = home / f"test-{datetime.now():%Y%m%d-%H%M%S}.log"
    command = ["airflow", "dags", "test", "--dagfile-path", str(DAG_FILE), name]
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            if ended := _TASK_ENDED.search(line):
                print(f"  {ended[1]}", flush=True)
    runs = _json(environment, "dags", "list-runs", name)
    run = max(runs, key=lambda one: one["run_after"])
    tasks = _json(environment, "tasks", "states-for-dag-run", name, run["run_id"])
    for task in sorted(tasks, key=lambda one: one["start_date"] or "~"):
        print(f"{task['task_id']:20} {task['state'] or 'none':16} {_seconds(task):6.1f} s")
    print(f"{run['run_id']}: {run['state']}; log: {log.relative_to(ROOT)}")
    return 0 if run["state"] == "success" else FAULT


def _seconds(task: Mapping[str, str]) -> float:
    if not (task["start_date"] and task["end_date"]):
        return 0.0
    start, end = (datetime.fromisoformat(task[name]) for name in ("start_date", "end_date"))
    return (end - start).total_seconds()


def _json(environment: Mapping[str, str], *arguments: str) -> list[dict[str, str]]:
    return _rows(_output("airflow", *arguments, "--output", "json", environment=environment))


def _rows(output: str) -> list[dict[str, str]]:
    """What Airflow's command line answers, below the lines that its libraries print."""
    return list(json.loads(output[output.rindex("\n[") if "\n[" in output else output.index("[") :]))


def _output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    # Its warnings go where Airflow's do: nowhere, unless it fails.
    stderr = None if environment is None else subprocess.PIPE
    result = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )
    if result.returncode:
        raise StepFailed(result.stderr or "")
    return result.stdout.strip()


def _run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise StepFailed


def _quietly(home: Path, environment: Mapping[str, str], *arguments: str) -> None:
    log = home / "setup.log"
    with log.open("a", encoding="utf-8") as kept:
        done = subprocess.run(["airflow", *arguments], cwd=ROOT, env=environment, stdout=kept, stderr=kept, check=False)
    if done.returncode:
        raise StepFailed(f"airflow {' '.join(arguments[:2])} failed: see {log.relative_to(ROOT)}")
