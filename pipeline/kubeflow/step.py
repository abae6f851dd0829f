"""The command of every step's container: TFX's, with what Kubeflow does otherwise than TFX expects put right.

Takes the flags of ``tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor``, the component's name and its
driver, if it has one of its own: Kubeflow runs none. Inputs from several steps are put together again; artifacts that
Kubeflow's launcher copies between this container and an object store that TensorFlow cannot open are read and written
where the launcher has them; folders for outputs are made anew; and what stops the step is told where the log ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.storage.staging import Staging
from deepmusic_genre.errors import GateClosed, PipelineInputError
from deepmusic_genre.exit_codes import FAULT, GATE, OK
from deepmusic_genre.process import exit_code_of, run_checkout_process, words_for
from pipeline.checks.orphans import end_with_stdin
from pipeline.console import reason
from pipeline.kubeflow.inputs import join_parts

MOUNTS = Staging({"minio://": "/minio/", "s3://": "/s3/"})
"""Where Kubeflow's launcher has the artifacts of an object store."""

END_WITH_STDIN = "DEEPMUSIC_END_WITH_STDIN"
"""Environment variable: whether the step is to end when its standard input does, because its caller died."""

log = logging.getLogger("deepmusic")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step; returns one of :mod:`deepmusic_genre.exit_codes`."""
    options, beam_args = _parse(arguments)
    if os.environ.get(END_WITH_STDIN):
        end_with_stdin()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        _run(options, beam_args)
    except PipelineInputError as error:
        code, told = GATE if isinstance(error, GateClosed) else FAULT, str(error)
    except KeyboardInterrupt as stop:
        code, told = exit_code_of(stop), words_for(stop)
    except Exception as error:  # Whatever a component raises, the log ends with the reason.
        log.exception("%s failed", options.component)
        code, told = FAULT, f"failed, {reason(error)}"
    else:
        return OK
    print(f"{options.component}: {told}", file=sys.stderr, flush=True)
    return code


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m pipeline.kubeflow.step", description=__doc__, allow_abbrev=False)
    parser.add_argument("--component", required=True)
    parser.add_argument("--executor_class_path", required=True, help="package.module.Class")
    parser.add_argument("--driver_class_path", help="package.module.Class")
    parser.add_argument("--json_serialized_invocation_args", required=True, help="an ExecutorInput, as JSON")
    parser.add_argument("--json_serialized_inputs_spec_args", help="the component's inputs, as JSON")
    return parser.parse_known_args(arguments)


def _run(options: argparse.Namespace, beam_args: list[str]) -> None:
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    from components.storage.files import fileio
    from pipeline.engine import engine_jobs

    asked = json.loads(options.json_serialized_invocation_args)
    join_parts(asked.get("inputs", {}).get("artifacts", {}))
    outputs = list(_artifacts(asked.get("outputs", {})))
    for artifact in (*_artifacts(asked.get("inputs", {})), *outputs):
        artifact["uri"] = MOUNTS.local(artifact["uri"])
    for uri in (artifact["uri"] for artifact in outputs):
        # A pod that is tried again is given the same folders, with what the first try has left in them.
        if fileio.exists(uri):
            fileio.rmtree(uri)
        fileio.makedirs(uri)
    if options.driver_class_path:
        _drive(options, asked)
    options.json_serialized_invocation_args = json.dumps(asked)
    start = time.monotonic()
    with engine_jobs():
        kubeflow_v2_run_executor.main((options, beam_args))
    _tell_origin(asked["outputs"]["outputFile"], options.component, time.monotonic() - start)


def _drive(options: argparse.Namespace, asked: dict[str, Any]) -> None:
    """Lets the component's driver look at what the step depends on, and hands its findings on as TFX's drivers do."""
    from google.protobuf import json_format
    from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentInputsSpec, ExecutorInput
    from tfx.orchestration.kubeflow.v2.container.kubeflow_v2_entrypoint_utils import parse_execution_properties
    from tfx.types.standard_component_specs import EXAMPLES_KEY
    from tfx.utils import import_utils

    from components.storage.files import fileio

    inputs = json_format.ParseDict(asked, ExecutorInput(), ignore_unknown_fields=True).inputs
    declared = json_format.Parse(options.json_serialized_inputs_spec_args, ComponentInputsSpec())
    given = parse_execution_properties(inputs.parameter_values, inputs.parameters, declared)
    driver = import_utils.import_class_by_path(options.driver_class_path)(None)
    resolved = driver.resolve_exec_properties(dict(given), None, None)
    found = {key: value for key, value in resolved.items() if value is not None and value != given.get(key)}
    for artifact in asked["outputs"]["artifacts"].get(EXAMPLES_KEY, {}).get("artifacts", []):
        artifact.setdefault("metadata", {}).update(found)
    output_file = asked["outputs"]["outputFile"]
    fileio.makedirs(os.path.dirname(output_file))
    with fileio.open(output_file, "w") as file:
        file.write(json.dumps({"parameterValues": found}))


def _tell_origin(output_file: str, component: str, seconds: float) -> None:
    """Puts URIs back as Kubeflow knows them, and notes with the artifacts what made them and how long it took."""
    from components.artifacts import COMPONENT_PROPERTY, SECONDS_PROPERTY
    from components.storage.files import fileio

    with fileio.open(output_file) as file:
        told = json.loads(file.read())
    for artifact in _artifacts(told):
        artifact["uri"] = MOUNTS.remote(artifact["uri"])
        artifact.setdefault("metadata", {}).update({COMPONENT_PROPERTY: component, SECONDS_PROPERTY: seconds})
    with fileio.open(output_file, "w") as file:
        file.write(json.dumps(told))


def _artifacts(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for found in message.get("artifacts", {}).values():
        yield from found.get("artifacts", [])


if __name__ == "__main__":
    run_checkout_process(main)
