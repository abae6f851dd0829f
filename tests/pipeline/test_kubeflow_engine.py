"""What runs a specification: the order, what a step is asked, how it fails, how an interrupted run goes on."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from components.artifacts import MADE_WITH_PROPERTY
from deepmusic_genre.errors import PipelineInputError
from pipeline.kubeflow.local.engine import Engine, StepFailed, order, read_specification
from tests.pipeline.test_kubeflow import Told

pytestmark = pytest.mark.slow

# Copies its input and the parameter into its output.
COPY = """
import json, sys, pathlib
asked = json.loads(sys.argv[1])
inputs, (made,) = asked.get("inputs", {}), asked["outputs"]["artifacts"]["made"]["artifacts"]
folder = pathlib.Path(made["uri"])
folder.mkdir()
given = [artifact for found in inputs.get("artifacts", {}).values() for artifact in found["artifacts"]]
read = [pathlib.Path(artifact["uri"], "text").read_text() for artifact in given]
(folder / "text").write_text("".join(read) + inputs["parameterValues"]["word"])
told = {"artifacts": {"made": {"artifacts": [{"uri": made["uri"], "metadata": {"words": len(read) + 1}}]}}}
pathlib.Path(asked["outputs"]["outputFile"]).write_text(json.dumps(told))
"""


def _pipeline(**steps: dict[str, Any]) -> PipelineSpec:
    """Steps with ``code`` and what it is ``made_with``, those ``after`` which they come, and if they are ``cached``."""
    document: dict[str, Any] = {
        "components": {},
        "deploymentSpec": {"executors": {}},
        "root": {
            "inputDefinitions": {"parameters": {"last": {"parameterType": "STRING", "defaultValue": "end"}}},
            "dag": {"tasks": {}},
        },
    }
    for name, step in steps.items():
        word = {"componentInputParameter": "last"} if name == "last" else {"runtimeValue": {"constant": name}}
        kind = {
            "artifactType": {"schemaTitle": "tfx.Model"},
            "metadata": {MADE_WITH_PROPERTY: step.get("made_with", "this")},
        }
        document["components"][name] = {"executorLabel": name, "outputDefinitions": {"artifacts": {"made": kind}}}
        document["deploymentSpec"]["executors"][name] = {
            "container": {"command": ["python", "-c"], "args": [step.get("code", COPY), "{{$}}"]}
        }
        sources = {
            f"from_{other}": {"taskOutputArtifact": {"producerTask": other, "outputArtifactKey": "made"}}
            for other in step.get("after", [])
        }
        document["root"]["dag"]["tasks"][name] = {
            "componentRef": {"name": name},
            "cachingOptions": {"enableCache": step.get("cached", True)},
            "inputs": {"artifacts": sources, "parameters": {"word": word}},
        }
    return json_format.ParseDict(document, PipelineSpec())


def _text(made: Any) -> str:
    (artifact,) = made.artifacts["made"].artifacts
    return (Path(artifact.uri) / "text").read_text()


def test_each_step_runs_after_those_that_it_depends_on() -> None:
    pipeline = _pipeline(a={"after": ["z"]}, m={"after": ["a", "z"]}, z={})
    pipeline.root.dag.tasks["z"].dependent_tasks.append("y")
    pipeline.root.dag.tasks["y"].component_ref.name = "z"
    assert order(pipeline) == ["y", "z", "a", "m"]


def test_artifacts_and_parameters_arrive(tmp_path: Path) -> None:
    pipeline = _pipeline(a={}, last={"after": ["a"]})
    assert _text(Engine(tmp_path, Told()).run(pipeline)["last"]) == "aend"
    made = Engine(tmp_path, Told()).run(pipeline, {"last": "stop"})
    assert _text(made["last"]) == "astop"
    assert json_format.MessageToDict(made["last"].artifacts["made"])["artifacts"][0]["metadata"]["words"] == 2


def test_what_reads_other_content_runs_again_and_what_reads_equal_content_does_not(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("one")
    looks = COPY.replace('inputs["parameterValues"]["word"]', f"open({str(word)!r}).read()")
    pipeline = _pipeline(a={"code": looks, "cached": False}, b={"after": ["a"]})
    told = Told()
    engine = Engine(tmp_path / "runs", told)
    assert _text(engine.run(pipeline)["b"]) == "oneb"
    engine.run(pipeline)
    assert told.steps == {"a": False, "b": True}
    word.write_text("two")
    assert _text(engine.run(pipeline)["b"]) == "twob"
    assert told.steps == {"a": False, "b": False}


def test_what_other_code_or_another_environment_made_is_made_again(tmp_path: Path) -> None:
    told = Told()
    Engine(tmp_path, told).run(_pipeline(a={"made_with": "1"}, b={"after": ["a"]}))
    Engine(tmp_path, told).run(_pipeline(a={"made_with": "1"}, b={"after": ["a"]}))
    assert told.steps == {"a": True, "b": True}
    Engine(tmp_path, told).run(_pipeline(a={"made_with": "2"}, b={"after": ["a"]}))
    # What the first one made is of equal content.
    assert told.steps == {"a": False, "b": True}


def test_what_was_damaged_is_made_again(tmp_path: Path) -> None:
    told = Told()
    engine = Engine(tmp_path, told)
    (artifact,) = engine.run(_pipeline(a={}))["a"].artifacts["made"].artifacts
    (file,) = Path(artifact.uri).iterdir()
    file.write_text(file.read_text() + "?")
    assert _text(engine.run(_pipeline(a={}))["a"]) == "a"
    assert told.steps == {"a": False}


def test_what_was_removed_is_made_again(tmp_path: Path) -> None:
    told = Told()
    engine = Engine(tmp_path, told)
    made = engine.run(_pipeline(a={}))
    (artifact,) = made["a"].artifacts["made"].artifacts
    (Path(artifact.uri) / "text").unlink()
    Path(artifact.uri).rmdir()
    assert _text(engine.run(_pipeline(a={}))["a"]) == "a"
    assert told.steps == {"a": False}


def test_a_file_that_somebody_else_left_is_let_alone(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / ".DS_Store").touch()
    assert _text(Engine(tmp_path, Told()).run(_pipeline(a={}))["a"]) == "a"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('noise'); print('b: too few tracks'); print('  and more'); exit(1)", "too few tracks\n  and more"),
        ("print('noise'); exit(3)", "ended with 3: noise"),
        ("exit(3)", "ended with 3"),
        ("import os; print('working', flush=True); os.kill(os.getpid(), 9)", "was killed by signal 9: working"),
    ],
    ids=["told", "noise", "silent", "killed"],
)
def test_a_step_that_fails_gives_its_reason_and_the_next_run_goes_on(tmp_path: Path, code: str, reason: str) -> None:
    told = Told()
    engine = Engine(tmp_path, told)
    with pytest.raises(StepFailed) as failed:
        engine.run(_pipeline(a={}, b={"after": ["a"], "code": code}, c={"after": ["b"]}))
    assert (str(failed.value), failed.value.step, failed.value.not_run) == (reason, "b", ["c"])
    assert failed.value.log.is_file()
    told.steps.clear()
    assert _text(engine.run(_pipeline(a={}, b={"after": ["a"]}, c={"after": ["b"]}))["c"]) == "abc"
    assert told.steps == {"a": True, "b": False, "c": False}
    assert not failed.value.log.exists()


def test_a_run_that_is_killed_goes_on_after_its_last_finished_step(tmp_path: Path) -> None:
    waiting = _pipeline(a={}, b={"after": ["a"], "code": "import time; time.sleep(300)"})
    process = multiprocessing.get_context("fork").Process(target=_run_in_a_session, args=(tmp_path, waiting))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "1" / "b" / "log.txt").exists():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    told = Told()
    assert _text(Engine(tmp_path, told).run(_pipeline(a={}, b={"after": ["a"]}))["b"]) == "ab"
    assert told.steps == {"a": True, "b": False}


def _run_in_a_session(folder: Path, pipeline: PipelineSpec) -> None:
    os.setsid()
    Engine(folder, Told()).run(pipeline)


@pytest.mark.parametrize(
    "content", ["", "- a list", "{root: {dag: 1}}", "a: [", "\0"], ids=["empty", "list", "other", "broken", "binary"]
)
def test_what_is_no_specification_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(content)
    with pytest.raises(PipelineInputError, match=r"pipeline\.yaml is no specification"):
        read_specification(file)


def test_a_step_that_is_no_container_is_refused(tmp_path: Path) -> None:
    pipeline = _pipeline(a={})
    pipeline.deployment_spec.update({"executors": {"a": {"resolver": {}}}})
    with pytest.raises(PipelineInputError, match="a is not a step in a container"):
        Engine(tmp_path, Told()).run(pipeline)
