"""Airflow's steps, in processes of their own as its tasks run them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.support.command import with_settings
from tests.support.tracks import write_catalogue

_SEVERAL = """
import sys
from pathlib import Path
from tfx.proto.orchestration import pipeline_pb2
from components.storage.staging import Copies
from pipeline.run.launch import launch
compiled = pipeline_pb2.Pipeline.FromString(Path(sys.argv[1]).read_bytes())
nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}
for name in sys.argv[2:]:
    launch(compiled, nodes[name], Copies(Path(sys.argv[1]).parents[1] / "copies"))
"""


@dataclass(frozen=True)
class Steps:
    """The steps of one described DAG.

    Attributes:
        options: what says which data are read, and how.
        home: where its runs write.
    """

    options: tuple[str, ...]
    home: Path

    @property
    def dag(self) -> Path:
        """What describe wrote."""
        return self.home / "dag.json"

    def command(self, *arguments: str) -> list[str]:
        """A step's command, as the DAG file's tasks run it: it needs a pipe as its standard input."""
        return [sys.executable, "-m", "pipeline.airflow.steps", "--end-with-stdin", *with_settings(arguments)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a step to its end."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            output = process.stdout.read()
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def begin(self, run: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Begins a run, with what differs from the DAG's own parameters."""
        given = ("--dag", str(self.dag), "--run", str(self.file(run)), "--run-id", run)
        return self.run("begin", *given, *self.options, *options)

    def begun(self, run: str) -> Path:
        """What begin wrote for a run."""
        done = self.begin(run)
        assert done.returncode == 0, done.stdout
        return self.file(run)

    def file(self, run: str) -> Path:
        """Where begin writes for a run."""
        return self.home / "runs" / f"{run}.pb"

    def node(self, run: Path, component: str) -> subprocess.CompletedProcess[str]:
        """Runs a component."""
        return self.run("node", "--run", str(run), component)

    def conclude(self, run: Path) -> subprocess.CompletedProcess[str]:
        """Concludes a run."""
        return self.run("conclude", "--run", str(run), *self.options)

    def nodes(self, run: Path, *components: str) -> None:
        """Runs components in one process, which takes TFX's imports once."""
        command = [sys.executable, "-c", _SEVERAL, str(run), *components]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def steps_of(folder: Path, *settings: str) -> Steps:
    """Describes a DAG for a small catalogue in a folder."""
    data, labels = write_catalogue(folder)
    options = ("--data", str(data), "--labels", str(labels), "--name", "dag", f"output={folder / 'output'}", *settings)
    steps = Steps(options, folder / "output" / "dag")
    described = steps.run("describe", "--dag", str(steps.dag), *options)
    assert described.returncode == 0, described.stdout
    return steps


def is_alive(process: int) -> bool:
    """Whether a process goes on; one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
