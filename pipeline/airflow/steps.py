"""What the DAG's tasks run in TFX's environment: describe the DAG, begin a run, run one component of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from deepmusic_genre.cli import Given, data_options, pipeline_options
from deepmusic_genre.errors import ComponentFailed, PipelineInputError
from deepmusic_genre.exit_codes import OK
from deepmusic_genre.process import exit_code_of, received_stop, run_checkout_process, words_for
from pipeline.checks.orphans import end_with_stdin
from pipeline.console import Terminal, open_terminal
from pipeline.run.command_line import settings_of
from pipeline.run.conclusion import Stop, conclude, conclude_stopped, stop_of
from pipeline.settings import COPIES_FOLDER, Settings, location

FAULT = 1
"""Exit code of what another try would not mend: the input, the settings, a gate."""

FORMAT = 2
"""Of what ``describe`` writes; the DAG file reads this one alone."""

FAILURE = 75
"""Exit code of what may go better at the next try."""

_HEAVY_POOL = "deepmusic_heavy"
_HEAVY = ("TrackExampleGen", "StatisticsGen", "Transform", "Tuner-", "Trainer-", "Refitter")
"""What starts the names of components that need gigabytes of memory or all cores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step; the reason of a failure is what it prints last."""
    try:
        steps.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        stop = received_stop() or KeyboardInterrupt()
        print(words_for(stop))
        return exit_code_of(stop)
    except PipelineInputError as error:
        print(error)
        return FAULT
    except _StepFailed as failure:
        return failure.exit_code
    return 0


class _StepFailed(Exception):
    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


_RUN = click.option("--run", type=click.Path(path_type=Path), required=True, help="File that the step begin writes.")
_DAG = click.option("--dag", type=click.Path(path_type=Path), required=True, help="File that the step describe writes.")


@click.group()
@click.option("--end-with-stdin", "ends", is_flag=True, help="End when standard input does: the caller died.")
def steps(ends: bool) -> None:
    """What the DAG's tasks run."""
    if ends:
        end_with_stdin()


@steps.command()
@_DAG
@data_options
@pipeline_options
def describe(dag: Path, **options: Any) -> None:
    """Writes down what the DAG file builds its DAG from."""
    given = Given(**options)
    settings = settings_of(given)
    terminal = open_terminal(settings, verbose=False)
    with _shown(terminal):
        described = {
            "format": FORMAT,
            "name": settings.name,
            "home": settings.home,
            "run_name": given.name,
            "parameters": {
                "settings": _text(given.settings),
                "data": given.data and location(given.data),
                "labels": given.labels and location(given.labels),
                "set": list(given.assignments),
            },
            "heavy_pool": _HEAVY_POOL,
            "nodes": _nodes(settings),
            **settings.airflow.model_dump(),
        }
        _write(dag, json.dumps(described, indent=1).encode())


def _nodes(settings: Settings) -> list[dict[str, Any]]:
    from pipeline.create_pipeline import create_pipeline

    # The wiring alone is wanted here; the data are looked at when a run begins.
    if settings.catalogue.path is None:
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"path": settings.home})})
    pipeline = create_pipeline(settings, settings.home, settings.home)
    return [
        {
            "id": node.id,
            "upstream": sorted(upstream.id for upstream in node.upstream_nodes),
            "heavy": node.id.startswith(_HEAVY),
        }
        for node in pipeline.components
    ]


def _refuse_other_components(settings: Settings, dag: Path) -> None:
    described = {node["id"]: node["upstream"] for node in json.loads(dag.read_text(encoding="utf-8"))["nodes"]}
    made = {node["id"]: node["upstream"] for node in _nodes(settings)}
    more = ", ".join(name for name in made if name not in described)
    less = ", ".join(name for name in described if name not in made)
    differences = [*([f"make {more}"] if more else []), *([f"make no {less}"] if less else [])]
    if made != described:
        difference = ", and ".join(differences or ["connect the components otherwise"])
        raise PipelineInputError(
            f"The run's settings {difference}; the DAG was described for others. Give those that it was described"
            " with, or describe it anew with these, and let Airflow read it."
        )


@steps.command()
@_RUN
@_DAG
@click.option("--run-id", required=True, help="What Airflow calls the run.")
@data_options
@pipeline_options
def begin(run: Path, dag: Path, run_id: str, **options: Any) -> None:
    """Prepares a run."""
    settings = settings_of(Given(**options))
    if Path(settings.home) != run.parent.parent:
        raise PipelineInputError(
            f"These settings write to {settings.home}, and the DAG was described for {run.parent.parent}. Give"
            " the name, output and data that it was described with, or describe another one."
        )
    terminal = open_terminal(settings, verbose=False)
    with _shown(terminal), _noted(run):
        from tfx.dsl.compiler.compiler import Compiler

        from pipeline.metadata.leftovers import next_run
        from pipeline.run.local_runner import name_run
        from pipeline.run.preparation import prepare

        _refuse_other_components(settings, dag)
        with next_run(Path(settings.home)):
            compiled = Compiler().compile(prepare(settings, terminal))
        name_run(compiled, run_id)
        _write(run, compiled.SerializeToString(deterministic=True))
        terminal.line(
            f"{settings.name}: {settings.catalogue.path or 'demo catalogue'}, {len(compiled.nodes)} components"
        )


@steps.command()
@_RUN
@click.argument("component")
def node(run: Path, component: str) -> None:
    """Runs one component."""
    home = run.parent.parent
    terminal = Terminal(home / "logs", verbose=False)
    with _shown(terminal, f"{component}: "), _noted(run, component):
        begun = _begun(run)
        from tfx.proto.orchestration import pipeline_pb2

        compiled = pipeline_pb2.Pipeline.FromString(begun)
        nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}
        if component not in nodes:
            raise PipelineInputError(
                f"This run's settings make no {component}; the DAG was described anew since it began. Start"
                " another run."
            )
        # TFX's launcher takes seconds to import; what can go wrong without it has gone wrong by now.
        from components.storage.staging import Copies
        from pipeline.metadata.leftovers import part_of_run
        from pipeline.run.launch import launch

        with part_of_run(home, component):
            launched = launch(compiled, nodes[component], Copies(home / COPIES_FOLDER))
        terminal.finished(component, launched.seconds, launched.cached)


@steps.command("conclude")
@_RUN
@data_options
@pipeline_options
def conclude_run(run: Path, **options: Any) -> None:
    """Says what a run came to, when all its components have ended."""
    settings = settings_of(Given(**options))
    terminal = open_terminal(settings, verbose=False)
    with _shown(terminal):
        from tfx.proto.orchestration import pipeline_pb2

        from components.storage.staging import Copies
        from pipeline.metadata.leftovers import next_run
        from pipeline.run.launch import outputs_of_run
        from pipeline.run.outcome import read_outcome

        with next_run(Path(settings.home)):
            Copies(settings.copies).clear()
            compiled = pipeline_pb2.Pipeline.FromString(run.read_bytes()) if run.exists() else None
            outputs = outputs_of_run(compiled) if compiled else {}
            if compiled and len(outputs) == len(compiled.nodes):
                code = conclude(settings, read_outcome(outputs), terminal)
            else:
                stop = _stop(run)
                terminal.error(str(stop))
                code = conclude_stopped(settings, stop, terminal)
    if code != OK:
        raise _StepFailed(FAULT)


@contextmanager
def _noted(run: Path, *component: str) -> Iterator[None]:
    """Keeps what ends a component, or a run before all of them, for the task that concludes the run to say."""
    note = run.with_suffix(f".{component[0] if component else 'begin'}.json")
    note.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:  # Whatever it is, it is noted and goes on.
        cause = error.__cause__ if isinstance(error, ComponentFailed) else error
        _write(note, json.dumps(asdict(stop_of(cause, *component))).encode())
        raise


def _stop(run: Path) -> Stop:
    """What was noted first; a component that was killed, or a run that did not begin, has noted nothing."""
    notes = sorted(run.parent.glob(f"{run.stem}.*.json"), key=lambda note: note.stat().st_mtime)
    if not notes:
        return Stop((), ("not every task has ended well, and none has said why: see their logs",), gate=False)
    noted = json.loads(notes[0].read_bytes())
    return Stop(tuple(noted["components"]), tuple(noted["reasons"]), noted["gate"])


def _begun(run: Path) -> bytes:
    try:
        return run.read_bytes()
    except FileNotFoundError:
        raise PipelineInputError(
            f"{run}, which the task begin wrote, is not there: clear that task and all after it."
        ) from None


@contextmanager
def _shown(terminal: Terminal, place: str = "") -> Iterator[None]:
    """Shows what stops a step, and ends it with the exit code that says whether another try makes sense."""
    try:
        yield
    except ComponentFailed as failure:
        cause: BaseException | None = failure.__cause__
    except Exception as error:  # Standard error is the log file by now: nobody would see the traceback.
        cause = error
    else:
        return
    terminal.failure(place, cause)
    raise _StepFailed(FAULT if isinstance(cause, PipelineInputError) else FAILURE)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(content)
    part.replace(file)


if __name__ == "__main__":
    run_checkout_process(main)
