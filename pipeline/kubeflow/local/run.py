"""``deepmusic kubeflow run``: the compiled pipeline on this machine, each step by its own command, without Kubeflow."""

from __future__ import annotations

from pathlib import Path

from deepmusic_genre.cli import Given
from deepmusic_genre.exit_codes import GATE
from pipeline.console import Terminal, relative
from pipeline.kubeflow.compile import require_kubeflow, write_specification
from pipeline.run.command_line import run_command
from pipeline.run.conclusion import Stop, conclude, conclude_stopped
from pipeline.settings import Settings


def run(given: Given) -> int:
    """Compiles the pipeline and runs the file that came out.

    Returns:
        One of :mod:`deepmusic_genre.exit_codes`.
    """
    return run_command(given, _run, require_kubeflow)


def _run(settings: Settings, terminal: Terminal) -> int:
    terminal.moment("Starting TensorFlow Extended")
    from tfx.orchestration.kubeflow.v2.container.kubeflow_v2_entrypoint_utils import parse_raw_artifact_dict

    from pipeline.kubeflow.local.engine import Engine, StepFailed, read_specification
    from pipeline.kubeflow.specification import specification
    from pipeline.metadata.leftovers import only_run
    from pipeline.run.outcome import read_outcome
    from pipeline.run.preparation import with_demo_catalogue

    home = Path(settings.home) / "kubeflow"
    home.mkdir(parents=True, exist_ok=True)
    synthetic = settings.catalogue.path is None
    with only_run(home):
        read = with_demo_catalogue(settings, terminal) if synthetic else settings
        # Apart from what run-local pushes, whose versions ML Metadata knows.
        folder = f"{settings.storage or settings.output}/{settings.name}/kubeflow"
        documents = specification(read, folder, synthetic)
        file = write_specification(home, documents)
        pipeline = read_specification(file)
        terminal.line(f"{relative(file)}: {len(pipeline.root.dag.tasks)} steps, each in a process of its own")
        try:
            made = Engine(home / "runs", terminal).run(pipeline)
        except StepFailed as failure:
            terminal.error(f"{failure.step}: {failure}")
            terminal.line(f"not run: {', '.join(failure.not_run) or 'none'}")
            terminal.line(f"log: {relative(failure.log)}")
            stop = Stop((failure.step,), (str(failure),), gate=failure.code == GATE)
            return conclude_stopped(settings, stop, terminal)
    outcome = read_outcome({step: parse_raw_artifact_dict(each.artifacts) for step, each in made.items()})
    terminal.line(f"runs: {relative(home / 'runs')}")
    return conclude(settings, outcome, terminal)
