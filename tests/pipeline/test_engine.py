"""What jobs are made to do on an engine: of every component that reads, what its pipeline is when it is handed over."""

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner
from google.protobuf import json_format
from tfx.components.evaluator.executor import Executor as EvaluatorExecutor
from tfx.components.statistics_gen.executor import Executor as StatisticsExecutor
from tfx.components.transform.executor import Executor as TransformExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact, standard_artifacts

from components.evaluator.answers import write_answers
from components.evaluator.config import eval_config
from components.scoring.predictions import Predictions
from components.track_example_gen.splits import SPLITS
from pipeline.engine import ENOUGH_FILES, cancel_on_flink, engine_jobs
from pipeline.run.beam_memo import memoized
from tests.conftest import ROOT
from tests.support.ingestion import execute
from tests.support.tracks import GENRES, write_catalogue

_SHUFFLES = {common_urns.composites.RESHUFFLE.urn, common_urns.primitives.GROUP_BY_KEY.urn}
_FILE_READER = "_ReadRange"
"""The function of Beam's that reads one file after the other, of those that it is given."""


class _TranslatedError(Exception):
    """In place of running it: the pipeline, as an engine is given it."""

    def __init__(self, pipeline: beam_runner_api_pb2.Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline


class _EngineRunner(PipelineRunner):
    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> Any:  # noqa: ARG002 - Beam's
        raise _TranslatedError(pipeline.to_runner_api())


class _Graph:
    """A translated pipeline's transforms without parts, and what leads from one to the other."""

    def __init__(self, pipeline: beam_runner_api_pb2.Pipeline) -> None:
        everything = pipeline.components.transforms
        self._within = {part: name for name, whole in everything.items() for part in whole.subtransforms}
        self._all = everything
        self._leaves = {name: each for name, each in everything.items() if not each.subtransforms}
        self._maker = {output: name for name, each in self._leaves.items() for output in each.outputs.values()}

    def readers(self) -> list[str]:
        """The transforms that read."""
        return [name for name, each in self._leaves.items() if _reads(each)]

    def spread_before(self, name: str) -> bool:
        """Whether a shuffle comes before a transform, on each way to it."""
        makers = [self._maker[each] for each in self._leaves[name].inputs.values()]
        return bool(makers) and all(self._shuffles(each) or self.spread_before(each) for each in makers)

    def spread_after(self, name: str) -> bool:
        """Whether a shuffle takes what a transform yields, and nothing else does."""
        outputs = set(self._leaves[name].outputs.values())
        takers = [taker for taker, each in self._leaves.items() if outputs & set(each.inputs.values())]
        return bool(takers) and all(map(self._shuffles, takers))

    def _shuffles(self, name: str | None) -> bool:
        return name is not None and (self._all[name].spec.urn in _SHUFFLES or self._shuffles(self._within.get(name)))


def _reads(transform: beam_runner_api_pb2.PTransform) -> bool:
    if transform.spec.urn != common_urns.primitives.PAR_DO.urn:
        return transform.spec.urn == common_urns.deprecated_primitives.READ.urn
    labels = (beam_runner_api_pb2.LabelledPayload.FromString(item.payload) for item in transform.display_data)
    # What Beam reads from sources of its own is a splittable function.
    splittable = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload).restriction_coder_id
    return bool(splittable) or any(label.string_value.endswith(f".{_FILE_READER}") for label in labels)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("examples")
    execute(folder, *write_catalogue(folder, tracks=12))
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.splits = str(folder / "examples"), SPLITS
    return artifact


def _context(folder: Path) -> BaseBeamExecutor.Context:
    return BaseBeamExecutor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(runner=_EngineRunner()), tmp_dir=str(folder), unique_id="1"
    )


def _statistics(examples: Artifact, folder: Path) -> None:
    output = standard_artifacts.ExampleStatistics()
    output.uri = str(folder)
    StatisticsExecutor(_context(folder)).Do({"examples": [examples]}, {"statistics": [output]}, {})


def _transform(examples: Artifact, folder: Path) -> None:
    schema, graph = standard_artifacts.Schema(), standard_artifacts.TransformGraph()
    schema.uri, graph.uri = str(ROOT / "schemas"), str(folder / "graph")
    properties = {
        "preprocessing_fn": "components.transform.preprocessing.preprocessing_fn",
        "custom_config": json.dumps({"genres": GENRES}),
        "disable_statistics": 1,
    }
    inputs = {"examples": [examples], "schema": [schema]}
    TransformExecutor(_context(folder)).Do(inputs, {"transform_graph": [graph]}, properties)


def _evaluator(examples: Artifact, folder: Path) -> None:
    del examples
    answers, evaluation = standard_artifacts.Examples(), standard_artifacts.ModelEvaluation()
    answers.uri, evaluation.uri = str(folder / "answers"), str(folder / "evaluation")
    tracks = pa.table({"track_id": ["a"], "genre": [GENRES[0]]})
    write_answers(answers, {"c1m1": Predictions(tuple(GENRES), tracks, np.full((1, len(GENRES)), 0.5, np.float32))}, [])
    config = json_format.MessageToJson(eval_config(len(GENRES), []), preserving_proto_field_name=True)
    properties = {"eval_config": config, "example_splits": '["test"]'}
    EvaluatorExecutor(_context(folder)).Do({"examples": [answers]}, {"evaluation": [evaluation]}, properties)


@pytest.mark.parametrize("component", [_statistics, _transform, _evaluator])
def test_nothing_is_read_without_being_spread(
    component: Callable[[Artifact, Path], None], examples: Artifact, tmp_path: Path
) -> None:
    with memoized(), pytest.raises(_TranslatedError) as as_beam_has_it:
        component(examples, tmp_path)
    plain = _Graph(as_beam_has_it.value.pipeline)
    readers = plain.readers()
    assert not any(plain.spread_before(each) or plain.spread_after(each) for each in readers)
    with memoized(), engine_jobs(), pytest.raises(_TranslatedError) as translated:
        component(examples, tmp_path)
    spread = _Graph(translated.value.pipeline)
    ways = [(spread.spread_before(each), spread.spread_after(each)) for each in spread.readers()]
    assert ways == [(True, True)] * len(readers)
    assert readers


def _read(folder: Path, runner: PipelineRunner | str) -> _Graph:
    with engine_jobs():
        pipeline = beam.Pipeline(runner=runner)
        pipeline | beam.io.ReadFromTFRecord(f"{folder}/*") | beam.Map(len)
    return _Graph(pipeline.to_runner_api())


def test_records_stay_where_they_are_read_if_there_are_many_files(tmp_path: Path) -> None:
    for number in range(ENOUGH_FILES):
        (tmp_path / f"{number}.gz").touch()
    graph = _read(tmp_path, _EngineRunner())
    assert [(graph.spread_before(each), graph.spread_after(each)) for each in graph.readers()] == [(True, False)]


def test_this_process_shuffles_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.gz").touch()
    for runner in ("DirectRunner", "FnApiRunner"):
        graph = _read(tmp_path, runner)
        assert [(graph.spread_before(each), graph.spread_after(each)) for each in graph.readers()] == [(False, False)]


def test_beam_is_as_it_was_afterwards() -> None:
    before = beam.io.ReadFromTFRecord, PortableRunner.run_portable_pipeline
    with engine_jobs():
        assert beam.io.ReadFromTFRecord is not before[0]
    assert (beam.io.ReadFromTFRecord, PortableRunner.run_portable_pipeline) == before


class _FlinkRest(BaseHTTPRequestHandler):
    """The part of Flink's REST interface that lists and cancels jobs; a cancelled one takes a request to end."""

    jobs: list[dict[str, str]]

    def do_GET(self) -> None:
        body = json.dumps({"jobs": self.jobs}).encode()
        for job in self.jobs:
            job["state"] = {"CANCELLING": "CANCELED"}.get(job["state"], job["state"])
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self) -> None:
        (job,) = (job for job in self.jobs if self.path == f"/jobs/{job['jid']}?mode=cancel")
        assert job["state"] == "RUNNING"
        job["state"] = "CANCELLING"
        self.send_response(HTTPStatus.ACCEPTED)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def test_a_job_on_flink_is_cancelled_by_its_name() -> None:
    states = {"1": "FINISHED", "2": "RUNNING", "3": "RUNNING"}
    names = {"1": "mine", "2": "mine", "3": "other"}
    _FlinkRest.jobs = [{"jid": jid, "name": names[jid], "state": state} for jid, state in states.items()]
    with ThreadingHTTPServer(("127.0.0.1", 0), _FlinkRest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        master = f"127.0.0.1:{server.server_port}"
        cancel_on_flink(master, "mine")
        assert [job["state"] for job in _FlinkRest.jobs] == ["FINISHED", "CANCELED", "RUNNING"]
        _FlinkRest.jobs[1:] = [{"jid": jid, "name": "mine", "state": "RUNNING"} for jid in "45"]
        with pytest.raises(ValueError, match="2 jobs are called mine"):
            cancel_on_flink(master, "mine")
        server.shutdown()
    assert [job["state"] for job in _FlinkRest.jobs[1:]] == ["RUNNING", "RUNNING"]
