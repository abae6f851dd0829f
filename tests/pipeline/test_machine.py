"""How many components of a run work at a time."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import machine
from pipeline.run.machine import side_by_side
from pipeline.settings import Settings, load_settings
from tests.conftest import ROOT

pytestmark = [pytest.mark.fast, pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")]

_SCRIPT = """
import os
from pipeline.run.machine import keep_to_cores
from pipeline.settings import load_settings
keep_to_cores(load_settings(assignments=["machine.cores=1"]))
print(len(os.sched_getaffinity(0)))
"""


def settings(*assignments: str) -> Settings:
    return load_settings(assignments=["data.path=/music", *assignments])


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(machine, "_free_memory", lambda: 3.9)


def test_as_many_as_memory_and_cores_allow() -> None:
    assert side_by_side(settings()) == 3
    assert side_by_side(settings("machine.memory=8")) == 4
    assert side_by_side(settings("machine.memory=1")) == 1


@pytest.mark.parametrize(
    "assignment",
    ["storage=gs://bucket/runs", "data.path=s3://bucket/music", "beam.args=[--runner=FlinkRunner]"],
)
def test_what_has_threads_is_not_forked(assignment: str) -> None:
    assert side_by_side(settings(assignment)) == 0


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    assert machine._left_of_group(tmp_path) == math.inf
    (tmp_path / "memory.current").write_text("500\n")
    for most, left in (("max", math.inf), ("2000", 1500)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        assert machine._left_of_group(tmp_path) == left


def test_a_run_keeps_to_its_cores() -> None:
    printed = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout == "1\n"
