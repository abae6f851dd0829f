"""Beam on workers outside of this process: the same results, and a line where a job would wait for ever."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from tfx.components.statistics_gen.executor import Executor as StatisticsExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.track_example_gen.splits import SPLITS
from deepmusic_genre.errors import PipelineInputError
from pipeline.checks.beam import require_workers
from pipeline.code_version import PACKAGES
from pipeline.engine import engine_jobs
from pipeline.run.beam_memo import memoized
from pipeline.settings import load_settings
from serving.batch.folder import Job
from serving.batch.model import identify
from serving.batch.run import tag
from tests.conftest import ROOT, FinishedRun, free_port
from tests.support.ingestion import IN_PROCESS, Run, execute
from tests.support.tracks import write_analysis, write_catalogue
from tools.beam_cluster import beam_arguments

pytestmark = pytest.mark.slow

_POOL = "apache_beam.runners.worker.worker_pool_main"


@contextmanager
def started(arguments: Sequence[str], ports: Sequence[int], **more: Any) -> Iterator[None]:
    """A process for as long as the context lasts, and from when on it listens."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more) as process:
        try:
            for port in ports:
                while not _listens(port):
                    assert process.poll() is None, f"{arguments} ended"
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[str]]:
    jobs, pool = free_port(), free_port()
    command = [sys.executable, "-m", "tools.beam_cluster", f"--job-port={jobs}", f"--pool-port={pool}"]
    with started(command, (jobs, pool), cwd=ROOT):
        yield beam_arguments(jobs, pool)


@pytest.fixture(scope="module")
def prism() -> Iterator[list[str]]:
    """Beam's own engine, a program in Go, with a pool of this environment."""
    program = shutil.which("prism", path=f"{ROOT / '.tools' / 'go'}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("there is no Prism: go install github.com/apache/beam/sdks/v2/go/cmd/prism@latest")
    port = free_port()
    with (
        started([program, f"-job_port={port}", "-serve_http=false"], (port,)),
        another_pool(beam_arguments(port, 0), ROOT) as arguments,
    ):
        yield arguments


@pytest.fixture(params=["cluster", pytest.param("prism", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> list[str]:
    """Each of the engines that can be had here."""
    arguments: list[str] = request.getfixturevalue(request.param)
    return arguments


def jobs_of(engine: Sequence[str]) -> dict[str, str]:
    """The state of each job that an engine lists, by its id."""
    endpoint = PipelineOptions(list(engine)).view_as(PortableOptions).job_endpoint
    with grpc.insecure_channel(endpoint) as channel:
        listed = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
    return {job.job_id: beam_job_api_pb2.JobState.Enum.Name(job.state) for job in listed}


@contextmanager
def another_pool(cluster: Sequence[str], folder: Path, path: Path | None = None) -> Iterator[list[str]]:
    """Beam's own pool, as somebody else starts it, for the job server of the cluster.

    Args:
        cluster: the arguments that name the job server.
        folder: where it is started; its workers find there what code they find.
        path: where its workers find ``python``; None for this environment's.
    """
    port = free_port()
    first = path or Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{first}{os.pathsep}{os.environ['PATH']}"}
    with started([sys.executable, "-m", _POOL, f"--service_port={port}"], (port,), cwd=folder, env=environment):
        yield [*cluster, f"--environment_config=localhost:{port}"]


def statistics(root: Path, beam_args: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """StatisticsGen's, of the examples below a folder, by split and feature."""
    examples, output = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    examples.uri, output.uri = str(root / "examples"), str(root / "statistics")
    examples.splits = SPLITS
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), tmp_dir=str(root / "tmp"), unique_id="2")
    with memoized(), engine_jobs():
        StatisticsExecutor(context).Do({"examples": [examples]}, {"statistics": [output]}, {})
    files = {split: str(root / "statistics" / f"Split-{split}" / "FeatureStats.pb") for split in SPLITS}
    return {split: by_feature(tfdv.load_stats_binary(file)) for split, file in files.items()}


def by_feature(statistics: Any) -> dict[str, bytes]:
    (dataset,) = statistics.datasets
    return {feature.path.step[0]: feature.SerializeToString(deterministic=True) for feature in dataset.features}


@dataclass(frozen=True)
class Made:
    """What was made of a catalogue of 31 files, one of them broken."""

    run: Run
    statistics: dict[str, dict[str, bytes]]
    answers: pd.DataFrame


def make(root: Path, data: Path, labels: Path, version: Path, beam_args: Sequence[str]) -> Made:
    run = execute(root, data, labels, beam_args=beam_args)
    outcome = tag(Job(str(data), identify(str(version))), str(version), str(root / "out"), beam_args, lambda _: None)
    assert (outcome.summary.tracks, outcome.summary.rejected) == (30, 1)
    return Made(run, statistics(root, beam_args), pd.read_parquet(root / "out" / "predictions.parquet"))


@pytest.fixture(scope="module")
def catalogue(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The analyses, their labels, and a model."""
    data, labels = write_catalogue(tmp_path_factory.mktemp("catalogue"), tracks=30)
    (data / "broken.json").write_text("{")
    (version,) = (finished_run.home / "pushed").iterdir()
    return data, labels, version


@pytest.fixture(scope="module")
def made_here(catalogue: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("here"), *catalogue, [*IN_PROCESS, "--tfxio_use_byte_size_batching"])


def test_workers_elsewhere_make_what_this_process_makes(
    engine: list[str], catalogue: tuple[Path, Path, Path], made_here: Made, tmp_path: Path
) -> None:
    there = make(tmp_path, *catalogue, engine)
    assert there.run.examples == made_here.run.examples
    assert there.run.rejections == made_here.run.rejections
    assert len(made_here.run.rejections) == 1
    assert made_here.run.count == 30
    assert there.statistics == made_here.statistics
    pd.testing.assert_frame_equal(there.answers, made_here.answers)


def test_what_is_wrong_with_the_input_is_said_from_there_too(
    cluster: list[str], finished_run: FinishedRun, tmp_path: Path
) -> None:
    write_analysis(tmp_path / "data" / "a.json", {"segments": []})
    (version,) = (finished_run.home / "pushed").iterdir()
    model = shutil.copytree(version, tmp_path / "models" / version.name)
    job = Job(str(tmp_path / "data"), identify(str(model)))
    (model / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(PipelineInputError, match=rf"^The model in {model} does not load: "):
        tag(job, str(model), str(tmp_path / "out"), cluster, lambda _: None)


def test_no_worker_is_asked_where_this_process_does_the_work(tmp_path: Path) -> None:
    told: list[str] = []
    modes: tuple[Sequence[str], ...] = (
        load_settings().beam.args,
        ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"],
        [],
    )
    for arguments in modes:
        require_workers(arguments, str(tmp_path / "artifacts"), (), told.append)
    assert not told
    assert not (tmp_path / "artifacts").exists()


def test_servers_that_do_not_listen_are_named(cluster: list[str], tmp_path: Path) -> None:
    closed = free_port()
    with pytest.raises(PipelineInputError, match=rf"job server does not listen at localhost:{closed} .*beam-cluster"):
        require_workers([*cluster, f"--job_endpoint=localhost:{closed}"], str(tmp_path), (), print)
    said = rf"cannot be reached: .*Connection refused\. Worker pools have to listen at localhost:{closed} .*none does"
    with pytest.raises(PipelineInputError, match=said):
        require_workers([*cluster, f"--environment_config=localhost:{closed}"], str(tmp_path), (), print)


def test_workers_that_die_while_they_start_do_not_hang_the_run(cluster: list[str], tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    with another_pool(cluster, ROOT, tmp_path / "bare" / "bin") as arguments:
        start = time.monotonic()
        said = r"^None of Beam's workers answered within 4 s\. The Beam job \S+ was cancelled\. .*a pool of its own"
        with pytest.raises(PipelineInputError, match=said) as refused:
            require_workers(arguments, str(tmp_path / "artifacts"), (), print, limit=4)
    assert time.monotonic() - start < 60
    (job,) = re.findall(r"job (\S+) was", str(refused.value))
    assert jobs_of(cluster)[job] == "CANCELLED"


def test_an_interrupted_run_leaves_no_job_behind(engine: list[str], tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.endless_job", str(sign), *engine],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        while not sign.exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        output, _ = process.communicate()
    cancelled = re.fullmatch(r"The Beam job (\S+) was cancelled\n", output)
    assert cancelled
    assert (process.returncode, jobs_of(engine)[cancelled[1]]) == (128 + signal.SIGTERM, "CANCELLED")


def test_workers_without_the_code_or_with_another_are_refused(cluster: list[str], tmp_path: Path) -> None:
    # Another project's package of that name, as the environment itself has this project's.
    (tmp_path / "foreign" / "pipeline").mkdir(parents=True)
    (tmp_path / "foreign" / "pipeline" / "__init__.py").touch()
    with (
        another_pool(cluster, tmp_path / "foreign") as arguments,
        pytest.raises(PipelineInputError, match=r"cannot run this project's code: .*No module named 'pipeline"),
    ):
        require_workers(arguments, str(tmp_path / "artifacts"), (), print)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "code" / package)
    (tmp_path / "code" / "deepmusic_genre" / "tracks" / "registry.py").open("a").write("# Older.\n")
    with (
        another_pool(cluster, tmp_path / "code") as arguments,
        pytest.raises(PipelineInputError, match=r"not those of this run: the project's code is \w+ there and \w+ here"),
    ):
        require_workers(arguments, str(tmp_path / "artifacts"), (), print)


def test_workers_have_to_see_what_is_read_and_written(cluster: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    require_workers(cluster, str(tmp_path / "artifacts"), (str(tmp_path),), told.append)
    assert told == ["Asking a worker of PortableRunner what it is"]
    assert not list((tmp_path / "artifacts").iterdir())
    with pytest.raises(PipelineInputError, match=rf"^Beam's workers do not see {tmp_path}/elsewhere\.$"):
        require_workers(cluster, str(tmp_path / "artifacts"), (str(tmp_path / "elsewhere"),), told.append)


def test_dataflow_needs_everything_in_a_bucket(tmp_path: Path) -> None:
    options = ["--runner=DataflowRunner", "--project=p", "--region=europe-west1", "--temp_location=gs://bucket/tmp"]
    with pytest.raises(PipelineInputError, match=rf"^Dataflow's workers do not see {tmp_path}/artifacts, {tmp_path}: "):
        require_workers(options, str(tmp_path / "artifacts"), (str(tmp_path), "gs://bucket/labels.csv"), print)


def test_dask_is_refused() -> None:
    with pytest.raises(PipelineInputError, match=r"beam\.args.*Dask runner loses data"):
        load_settings(assignments=["beam.args=[--runner=DaskRunner]"])
