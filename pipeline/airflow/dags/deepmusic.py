"""The DAG: one task a component, built from what ``pipeline.airflow.steps describe`` wrote down.

Reads ``DEEPMUSIC_DAG``, the path of that file, and runs every step with ``DEEPMUSIC_PYTHON``, the Python of TFX's
environment, in this project's folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

ROOT = Path(__file__).resolve().parents[3]

_FAULT = 1
_SHOWN_LINES = 20
_FIRST = "begin"


def _described() -> dict[str, Any]:
    return dict(json.loads(Path(os.environ["DEEPMUSIC_DAG"]).read_text(encoding="utf-8")))


def _step(*arguments: str) -> None:
    """Runs a step and passes on what it prints.

    Raises:
        AirflowFailException: another try would end in the same way.
        AirflowException: another try may not.
    """
    command = [os.environ["DEEPMUSIC_PYTHON"], "-m", "pipeline.airflow.steps", *arguments]
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            print(line, end="", flush=True)
    if process.returncode:
        failed = AirflowFailException if process.returncode == _FAULT else AirflowException
        raise failed("\n".join(last) or f"{arguments[0]} ended with {process.returncode}")


def _run_file() -> Path:
    run_id = str(get_current_context()["run_id"])
    return Path(_HOME) / "runs" / f"{re.sub('[^0-9A-Za-z_-]', '_', run_id)}.pb"


def _begin() -> None:
    context = get_current_context()
    parameters = context["params"]
    given = {"--settings": parameters["settings"], "--data": parameters["data"], "--labels": parameters["labels"]}
    given["--name"] = _DESCRIBED["run_name"]
    options = [text for option, value in given.items() if value for text in (option, str(value))]
    _step(_FIRST, "--run", str(_run_file()), "--run-id", str(context["run_id"]), *options, *parameters["set"])


def _component(name: str) -> None:
    _step("node", "--run", str(_run_file()), name)


_DESCRIBED = _described()
_HOME = _DESCRIBED["home"]
_DEFAULTS = _DESCRIBED["parameters"]

with DAG(
    dag_id=_DESCRIBED["name"],
    description="Learns a track's genre from its audio analysis",
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
