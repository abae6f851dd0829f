"""A run whose data, labels and artifacts are in a bucket."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Settings, load_settings
from tests.conftest import run_local


@dataclass(frozen=True)
class RemoteRun:
    """What came of a run on the catalogue ``music`` and ``labels.csv`` of a bucket."""

    bucket: str
    file: Path
    settings: Settings
    stdout: str

    def again(self, *assignments: str) -> subprocess.CompletedProcess[str]:
        return _run(self.bucket, self.file, *assignments)


def run_in(bucket: str, folder: Path) -> RemoteRun:
    """Runs the pipeline on a bucket's catalogue.

    Args:
        bucket: its address, as ``gs://music``; artifacts go below ``deep`` in it.
        folder: for what the run keeps on this machine.
    """
    file = folder / "settings.yaml"
    file.write_text(
        f"name: mine\noutput: {folder / 'output'}\nstorage: {bucket}/deep\ntraining: {{models: [tangent]}}\n"
    )
    result = _run(bucket, file)
    assert result.returncode == 0, result.stdout + result.stderr
    return RemoteRun(bucket, file, load_settings(file), result.stdout)


def _run(bucket: str, file: Path, *assignments: str) -> subprocess.CompletedProcess[str]:
    data = ("--data", f"{bucket}/music", "--labels", f"{bucket}/labels.csv")
    return run_local(("--settings", str(file), *data, *assignments))
