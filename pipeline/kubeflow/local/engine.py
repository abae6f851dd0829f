"""Runs a compiled specification on this machine, as Kubeflow does: each step's own command, in a process of its own.

What a step made is kept below a folder, which stands in for Kubeflow's metadata and its cache: a step that had equal
inputs before, compared by content, is not run again. A run that was interrupted so goes on where it was.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorInput, ExecutorOutput, PipelineDeploymentConfig, PipelineSpec

from deepmusic_genre.errors import PipelineInputError
from pipeline.kubeflow.compile import ROOT
from pipeline.kubeflow.local.store import Made, Store, digest_of, key_of
from pipeline.kubeflow.step import END_WITH_STDIN

if TYPE_CHECKING:
    from pipeline.run.side_by_side import Observer

_EXECUTOR_INPUT = "{{$}}"
_SAID = re.compile(r"INFO (deepmusic\.\S+): (.*)")


class StepFailed(Exception):
    """A step's command did not end well; the message is the reason that it gave.

    Attributes:
        step: its name.
        code: what its command ended with.
        log: all that it said.
        not_run: the steps that so did not run.
    """

    def __init__(self, step: str, code: int, log: Path) -> None:
        super().__init__(_reason(step, log, code))
        self.step = step
        self.code = code
        self.log = log
        self.not_run: list[str] = []


@dataclass(frozen=True)
class _Step:
    """A step of a run, with what it is asked and where its log and its outputs go."""

    name: str
    folder: Path
    container: Any
    asked: Any
    cacheable: bool
    key: str


def read_specification(file: Path) -> PipelineSpec:
    """Reads the pipeline of a compiled specification; raises PipelineInputError for a file that is none."""
    try:
        document = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        return json_format.ParseDict(document, PipelineSpec())
    except (OSError, StopIteration, yaml.YAMLError, json_format.ParseError) as error:
        raise PipelineInputError(f"{file} is no specification of a pipeline: {error}.") from error


class Engine:
    """Runs specifications one after the other."""

    def __init__(self, folder: Path, observer: Observer) -> None:
        """Keeps what steps make below ``folder``, and tells ``observer`` how a run goes."""
        self._store = Store(folder)
        self._observer = observer

    def run(self, pipeline: PipelineSpec, arguments: Mapping[str, Any] | None = None) -> dict[str, Made]:
        """Runs every step, each after those that it depends on.

        Args:
            pipeline: of container steps only.
            arguments: the run-time parameters that are not to have their default.

        Returns:
            What each step made, now or earlier.

        Raises:
            PipelineInputError: there is no parameter of such a name.
            StepFailed: a step failed; those after it have not run.
        """
        parameters = _parameters(pipeline, arguments or {})
        run = self._store.new_run()
        made: dict[str, Made] = {}
        steps = order(pipeline)
        try:
            for name in steps:
                made[name] = self._take(_step(pipeline, name, run / name, parameters, made))
        except StepFailed as failure:
            failure.not_run = steps[len(made) + 1 :]
            raise
        return made

    def _take(self, step: _Step) -> Made:
        self._observer.started(step.name)
        start = time.monotonic()
        earlier = self._store.find(step.name, step.key) if step.cacheable else None
        made = earlier or self._store.keep(step.folder, step.key, _execute(step))
        self._observer.finished(step.name, time.monotonic() - start, cached=earlier is not None)
        return made


def order(pipeline: PipelineSpec) -> list[str]:
    """The names of the steps, each after those that it depends on."""
    tasks = pipeline.root.dag.tasks
    return list(
        TopologicalSorter({name: sorted(_upstream(task)) for name, task in sorted(tasks.items())}).static_order()
    )


def _upstream(task: Any) -> set[str]:
    producers = {given.task_output_artifact.producer_task for given in task.inputs.artifacts.values()}
    return producers | set(task.dependent_tasks)


def _parameters(pipeline: PipelineSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    declared = pipeline.root.input_definitions.parameters
    unknown = set(arguments) - set(declared)
    if unknown:
        raise PipelineInputError(f"The pipeline has no parameter {', '.join(sorted(unknown))}.")
    defaults = {name: json_format.MessageToDict(spec.default_value) for name, spec in declared.items()}
    return {**defaults, **arguments}


def _step(
    pipeline: PipelineSpec, name: str, folder: Path, parameters: Mapping[str, Any], made: Mapping[str, Made]
) -> _Step:
    task = pipeline.root.dag.tasks[name]
    component = pipeline.components[task.component_ref.name]
    deployment = json_format.ParseDict(json_format.MessageToDict(pipeline.deployment_spec), PipelineDeploymentConfig())
    executor = deployment.executors[component.executor_label]
    if executor.WhichOneof("spec") != "container":
        raise PipelineInputError(f"{name} is not a step in a container; this runs no others.")
    asked = ExecutorInput()
    digests = {}
    for key, given in task.inputs.artifacts.items():
        source = given.task_output_artifact
        asked.inputs.artifacts[key].CopyFrom(made[source.producer_task].artifacts[source.output_artifact_key])
        digests[key] = made[source.producer_task].digests[source.output_artifact_key]
    for key, value in task.inputs.parameters.items():
        constant = json_format.MessageToDict(value.runtime_value.constant) if value.HasField("runtime_value") else None
        given_value = parameters[value.component_input_parameter] if constant is None else constant
        json_format.ParseDict(given_value, asked.inputs.parameter_values[key])
    for key, output in component.output_definitions.artifacts.items():
        artifact = asked.outputs.artifacts[key].artifacts.add(uri=str(folder / key))
        artifact.name = f"{folder.parent.name}/{name}/{key}"
        artifact.type.CopyFrom(output.artifact_type)
        artifact.metadata.CopyFrom(output.metadata)
    asked.outputs.output_file = str(folder / "executor_output.json")
    told = json_format.MessageToDict(asked.inputs).get("parameterValues", {})
    outputs = json_format.MessageToDict(asked.outputs).get("artifacts", {})
    made_with = {
        key: [artifact.get("metadata", {}) for artifact in found["artifacts"]] for key, found in outputs.items()
    }
    key = key_of(list(executor.container.args), told, digests, made_with)
    return _Step(name, folder, executor.container, asked, task.caching_options.enable_cache, key)


def _execute(step: _Step) -> tuple[dict[str, Any], dict[str, str]]:
    """Runs a step's command; returns its output artifacts and the digest of each."""
    step.folder.mkdir(parents=True)
    asked = json_format.MessageToJson(step.asked, indent=None)
    command = [*step.container.command, *(arg.replace(_EXECUTOR_INPUT, asked) for arg in step.container.args)]
    # The image's Python is this one.
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    log = step.folder / "log.txt"
    with (
        log.open("w", buffering=1, encoding="utf-8") as kept,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **path, END_WITH_STDIN: "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            if said := _SAID.match(line):
                logging.getLogger(said[1]).info("%s", said[2], extra={"progress": True})
    if process.returncode:
        raise StepFailed(step.name, process.returncode, log)
    told = json_format.Parse(Path(step.asked.outputs.output_file).read_bytes(), ExecutorOutput())
    artifacts = dict(_merged(step.asked.outputs.artifacts, told.artifacts))
    return artifacts, {key: digest_of(found) for key, found in artifacts.items()}


def _merged(asked: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Output artifacts with what the step told of them, as Kubeflow puts it together."""
    for key, artifacts in asked.items():
        for artifact, update in zip(artifacts.artifacts, told[key].artifacts, strict=True):
            artifact.uri = update.uri or artifact.uri
            artifact.metadata.update(json_format.MessageToDict(update.metadata))
        yield key, artifacts


def _reason(step: str, log: Path, code: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [number for number, line in enumerate(lines) if line.startswith(f"{step}: ")]
    if told:
        return "\n".join(lines[told[-1] :]).removeprefix(f"{step}: ")
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    return f"{ended}: {lines[-1]}" if lines else ended
