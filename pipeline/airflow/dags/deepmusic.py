"""The DAG: one task a component, built from what ``pipeline.airflow.steps describe`` wrote down.

Reads ``DEEPMUSIC_DAG``, the path of that file, and runs every step with ``DEEPMUSIC_PYTHON``, the Python of TFX's
environment, in this project's folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from airflow.sdk import (
    DAG,
    Connection,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

ROOT = Path(__file__).resolve().parents[3]

_DAG, _PYTHON = "DEEPMUSIC_DAG", "DEEPMUSIC_PYTHON"
_FORMAT = 2
_FAULT = 1
_FIRST, _LAST = "begin", "conclude"
_CRAWL = "SpotifyCrawl"
_CREDENTIALS = "SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET"
_CONNECTION = "deepmusic_spotify"
_DESCRIBE = "`deepmusic airflow serve`, or python -m pipeline.airflow.steps describe, writes it"


# Airflow logs the text that a task exits with as a line; any other exception it would log with its trace.
class _StepFailed(SystemExit):
    """A step ended badly, and may do better at the next try."""


class _StepRefused(SystemExit):
    """A step ended badly, and would at every try."""


def _described() -> dict[str, Any]:
    """What the DAG is built from; raises AirflowException with a line that Airflow shows as the file's import error."""
    for variable in (_DAG, _PYTHON):
        if not os.environ.get(variable):
            raise AirflowException(f"{variable} is not set in the environment of Airflow's processes.")
    file = os.environ[_DAG]
    try:
        described = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise AirflowException(f"{_DAG} = {file} cannot be read: {error.strerror}. {_DESCRIBE}.") from None
    except ValueError:
        raise AirflowException(f"{_DAG} = {file} is no description of a DAG: it is not JSON. {_DESCRIBE}.") from None
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise AirflowException(f"{_DAG} = {file} is of another version of the project. {_DESCRIBE} anew.")
    return described


def _step(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs a step, which ends when this process does, and passes on what it prints.

    Raises:
        _StepRefused: another try would end in the same way.
        _StepFailed: another try may not.
    """
    python = os.environ[_PYTHON]
    command = [python, "-E", "-m", "pipeline.airflow.steps", "--end-with-stdin", *arguments]
    variables = {**os.environ, **(environment or {})}
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise _StepRefused(f"{_PYTHON} = {python} cannot be run: {error.strerror}.") from None
    last = ""
    with process:
        Thread(target=_end_group, args=(process,), daemon=True).start()
        for line in process.stdout or ():
            # Where a step's log is follows the reason of its failure.
            last = last if line.startswith("log: ") else line.strip() or last
            print(line, end="", flush=True)
    if process.returncode:
        failed = _StepRefused if process.returncode == _FAULT else _StepFailed
        by_signal = process.returncode < 0
        raise failed(f"{arguments[0]} was ended by {signal.Signals(-process.returncode).name}" if by_signal else last)


def _end_group(process: subprocess.Popen[str]) -> None:
    # What a step that was killed had started goes on otherwise, and holds the pipe that this process reads from.
    process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _run_file() -> Path:
    run_id = str(get_current_context()["run_id"])
    return Path(_HOME) / "runs" / f"{re.sub('[^0-9A-Za-z_-]', '_', run_id)}.pb"


def _begin() -> None:
    begin = _FIRST, "--dag", os.environ[_DAG], "--run", str(_run_file())
    _step(*begin, "--run-id", str(get_current_context()["run_id"]), *_options())


def _conclude() -> None:
    _step(_LAST, "--run", str(_run_file()), *_options())


def _options() -> list[str]:
    parameters = get_current_context()["params"]
    given = {"--settings": parameters["settings"], "--data": parameters["data"], "--labels": parameters["labels"]}
    given["--name"] = _DESCRIBED["run_name"]
    options = [text for option, value in given.items() if value for text in (option, str(value))]
    return [*options, *(text for assignment in parameters["set"] for text in ("--set", assignment))]


def _component(name: str) -> None:
    _step("node", "--run", str(_run_file()), name, environment=_credentials() if name == _CRAWL else None)


def _credentials() -> dict[str, str]:
    """A crawl's credentials, from the connection where the environment has none."""
    if all(os.environ.get(name) for name in _CREDENTIALS):
        return {}
    try:
        connection = Connection.get(_CONNECTION)
    except AirflowNotFoundException:
        print(f"Neither the environment has {' and '.join(_CREDENTIALS)}, nor Airflow a connection {_CONNECTION}.")
        return {}
    values = zip(_CREDENTIALS, (connection.login, connection.password), strict=True)
    return {name: value for name, value in values if value}


_DESCRIBED = _described()
_HOME = _DESCRIBED["home"]
_DEFAULTS = _DESCRIBED["parameters"]

with DAG(
    dag_id=_DESCRIBED["name"],
    description="Learns a track's genre from its audio analysis",
    doc_md=f"""Needs the pool `{_DESCRIBED["heavy_pool"]}` with {_DESCRIBED["heavy_slots"]} slot(s): tasks of a pool
that is not there stay scheduled for ever. A crawl takes `{_CREDENTIALS[0]}` and `{_CREDENTIALS[1]}` from the workers'
environment, or login and password of the connection `{_CONNECTION}`.""",
    schedule=_DESCRIBED["schedule"],
    catchup=False,
    # Runs share metadata, cache and pushed versions.
    max_active_runs=1,
    params={
        "data": Param(_DEFAULTS["data"], type=["null", "string"], description="folder of analyses; none: the demo"),
        "labels": Param(_DEFAULTS["labels"], type=["null", "string"], description="CSV with track_id,genre"),
        "settings": Param(_DEFAULTS["settings"], type=["null", "string"], description="YAML file"),
        "set": Param(_DEFAULTS["set"], type="array", description="section.key=value each"),
    },
    default_args={
        "retries": _DESCRIBED["retries"],
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=_StepRefused, action=RetryAction.FAIL)]),
    },
) as dag:
    begin = task(task_id=_FIRST)(_begin)()
    tasks = {}
    for node in _DESCRIBED["nodes"]:
        pool = {"pool": _DESCRIBED["heavy_pool"]} if node["heavy"] else {}
        tasks[node["id"]] = task(task_id=node["id"], **pool)(_component)(node["id"])
    for node in _DESCRIBED["nodes"]:
        upstream = [tasks[name] for name in node["upstream"]] or [begin]
        upstream >> tasks[node["id"]]
    # Whatever became of the others: it says what the run came to, and fails unless its model may be pushed.
    list(tasks.values()) >> task(task_id=_LAST, trigger_rule="all_done")(_conclude)()
