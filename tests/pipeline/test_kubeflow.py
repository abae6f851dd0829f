"""The compiled specification, what is refused before, and steps of it by their own commands."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepmusic_genre.errors import PipelineInputError
from pipeline.kubeflow import compile as compile_command
from pipeline.kubeflow.compile import write_specification
from pipeline.kubeflow.local.engine import Engine, StepFailed, read_specification
from pipeline.kubeflow.specification import PARAMETERS, specification
from pipeline.settings import load_settings
from tests.conftest import ROOT
from tests.support.command import call
from tests.support.tracks import write_catalogue

pytestmark = pytest.mark.slow

DOCKERFILE = ROOT / "pipeline" / "kubeflow" / "Dockerfile"
CLUSTER = (
    "name=cluster",
    "data.path=gs://music/tracks",
    "kubeflow.image=registry.example.com/deepmusic:1",
    "storage=gs://music",
)
PLAYLISTS = "spotify={enabled: true, accept_policy: true, playlists: {Jazz: [37i9dQZF1DXbITWG1ZJKYt]}}"


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.steps: dict[str, bool] = {}

    def started(self, component: str) -> None:
        pass

    def finished(self, component: str, seconds: float, cached: bool) -> None:  # noqa: ARG002 - an Observer's
        self.steps[component] = cached


# What a cluster cannot do


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        (["kubeflow.image=null"], ["kubeflow.image is not set"]),
        (["storage=null"], ["storage is not set"]),
        (["training.warm_start=true"], ["training.warm_start: the model to start from"]),
        (["data.path=null"], ["data.path is not set: the demo catalogue"]),
        (["data.path=null", PLAYLISTS], ["spotify.enabled: the store is a folder of this machine"]),
        (["data.path=/music"], ["data.path = '/music': a cluster's pods cannot see it"]),
        (["data.labels=/l.csv"], ["data.labels = '/l.csv': a cluster's pods cannot see it"]),
        (["storage=s3://music"], ["storage = 's3://music'", "Name a place on gs://, or below"]),
        (["storage=/a", "data.path=/b"], ["storage = '/a'", "data.path = '/b'"]),
        (["schema_file=/my.pbtxt"], ["schema_file = '/my.pbtxt'"]),
        (["data.path=/music2", "kubeflow.volumes={claim: /music}"], ["data.path = '/music2'"]),
        (["keep.versions=3"], ["keep: what is old is known by ML Metadata"]),
        (["metadata.database=mysql://me@host/music"], ["metadata.database: lineage and cache are in Kubeflow's own"]),
        (["name=My_Music"], ["name = 'My_Music'", "small letters"]),
        (["kubeflow.volumes={claim: music}"], ["kubeflow.volumes.claim = 'music'", "absolute path"]),
        (["kubeflow.pipeline_root=/artifacts"], ["kubeflow.pipeline_root = '/artifacts'"]),
        (["kubeflow.images=x"], ["kubeflow.images is not a setting"]),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_by_setting(
    settings: list[str], reasons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("kubeflow", "compile", *CLUSTER, f"output={tmp_path}", *settings) == 1
    told = capsys.readouterr()
    for reason in reasons:
        assert reason in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_steps_on_this_machine_write_no_shards_to_s3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("kubeflow", "run", f"output={tmp_path}", "storage=s3://music") == 1
    assert "storage = 's3://music': steps write shards there, which they cannot on S3.\n" in capsys.readouterr().err


# The specification


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    settings = load_settings(
        assignments=[*CLUSTER, "kubeflow.pipeline_root=gs://music/runs", "data.labels=s3://music/l"]
    )
    clusters = compile_command.for_cluster(settings)
    return specification(clusters, clusters.home)


@pytest.fixture(scope="module")
def tasks(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(documents[0]["root"]["dag"]["tasks"])


def _containers(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name: document["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        for name, component in document["components"].items()
    }


def test_every_step_is_a_container_of_the_image(documents: list[dict[str, Any]], tasks: dict[str, Any]) -> None:
    (document,) = documents
    containers = _containers(document)
    assert set(containers) == set(tasks) >= {"TrackExampleGen", "Trainer-c1m1", "BaselineResolver", "Pusher"}
    for name, container in containers.items():
        assert container["image"] == "registry.example.com/deepmusic:1"
        assert container["command"] == ["python", "-m", "pipeline.kubeflow.step"]
        assert f"--component={name}" in container["args"]


def test_every_input_comes_from_an_output_of_the_type_that_it_wants(
    documents: list[dict[str, Any]], tasks: dict[str, Any]
) -> None:
    components = documents[0]["components"]
    seen = 0
    for name, task in tasks.items():
        for key, given in task.get("inputs", {}).get("artifacts", {}).items():
            source = given["taskOutputArtifact"]
            made = components[source["producerTask"]]["outputDefinitions"]["artifacts"][source["outputArtifactKey"]]
            assert components[name]["inputDefinitions"]["artifacts"][key]["artifactType"] == made["artifactType"]
            assert source["producerTask"] in task["dependentTasks"]
            seen += 1
    assert seen > 30


def test_inputs_from_several_steps_are_several_inputs(tasks: dict[str, Any]) -> None:
    given = tasks["ModelSelector"]["inputs"]["artifacts"]
    producers = {key: source["taskOutputArtifact"]["producerTask"] for key, source in given.items()}
    assert producers == {
        "models__0": "Trainer-c1m1",
        "models__1": "Trainer-tangent",
        "models__2": "Trainer-ear",
        "model_runs__0": "Trainer-c1m1",
        "model_runs__1": "Trainer-tangent",
        "model_runs__2": "Trainer-ear",
    }


def test_parameters_have_the_settings_for_defaults(documents: list[dict[str, Any]], tasks: dict[str, Any]) -> None:
    declared = documents[0]["root"]["inputDefinitions"]["parameters"]
    defaults = {name: parameter["defaultValue"] for name, parameter in declared.items()}
    assert defaults == {"data": "gs://music/tracks", "labels": "s3://music/l", "max_rejected_share": 0.05}
    assert set(declared) == set(PARAMETERS)
    for component, key in (("TrackExampleGen", "data"), ("ReportGen", "path")):
        assert tasks[component]["inputs"]["parameters"][key] == {"componentInputParameter": "data"}


def test_what_looks_at_content_is_never_taken_from_the_cache(tasks: dict[str, Any]) -> None:
    uncached = {name for name, task in tasks.items() if not task["cachingOptions"].get("enableCache")}
    assert uncached == {"TrackExampleGen", "SchemaImport", "BaselineResolver"}


def test_places_are_the_clusters(documents: list[dict[str, Any]], tasks: dict[str, Any]) -> None:
    assert documents[0]["defaultPipelineRoot"] == "gs://music/runs"
    assert tasks["SchemaImport"]["inputs"]["parameters"]["schema_file"]["runtimeValue"]["constant"] == (
        "schemas/track.pbtxt"
    )
    destination = tasks["Pusher"]["inputs"]["parameters"]["push_destination"]["runtimeValue"]["constant"]
    assert json.loads(destination)["filesystem"]["base_directory"] == "gs://music/cluster/pushed"
    store = tasks["TrackExampleGen"]["inputs"]["parameters"]["store"]["runtimeValue"]["constant"]
    assert store.startswith("gs://music/cluster/artifacts/")
    assert str(ROOT) not in yaml.safe_dump_all(documents)


def test_a_crawl_on_this_machine_is_a_step_and_its_store_the_data(tmp_path: Path) -> None:
    settings = load_settings(assignments=["name=crawled", PLAYLISTS, f"output={tmp_path}"])
    (document,) = specification(settings, str(tmp_path))
    tasks = document["root"]["dag"]["tasks"]
    assert "SpotifyCrawl" in tasks["TrackExampleGen"]["dependentTasks"]
    data = document["root"]["inputDefinitions"]["parameters"]["data"]["defaultValue"]
    assert data.startswith(settings.spotify_store)


def test_volumes_are_mounted_by_every_step_in_a_document_of_their_own() -> None:
    here = ("data.path=/music/tracks", "storage=/music", "kubeflow.volumes={claim: /music}")
    settings = load_settings(assignments=[*CLUSTER, *here])
    document, platforms = specification(compile_command.for_cluster(settings), "/music/cluster")
    executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(document["deploymentSpec"]["executors"])
    mounts = [executor["pvcMount"] for executor in executors.values()]
    assert all(mount == [{"constant": "claim", "mountPath": "/music"}] for mount in mounts)
    assert "&id" not in yaml.safe_dump(platforms)


# The image


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with what the Dockerfile copies, and the tests' packages in the place of those that it would install."""
    folder = tmp_path / "image"
    folder.mkdir()
    for line in DOCKERFILE.read_text().splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(ROOT / source, folder / target)
    environment = folder / ".venv" / f"tfx-{'1.16' if sys.version_info < (3, 11) else '1.21'}"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    (environment / "lock.sha256").write_text(hashlib.sha256((folder / "requirements.lock").read_bytes()).hexdigest())
    return folder


def test_the_image_has_all_that_steps_import(image: Path, documents: list[dict[str, Any]]) -> None:
    (run,) = re.findall("^RUN (.*)", DOCKERFILE.read_text(), re.MULTILINE)
    installed = _output(run.split(), image)
    assert installed.returncode == 0, installed.stderr
    python = image / ".venv" / "step" / "bin" / "python"
    assert installed.stdout.startswith("steps run on ")
    assert f'PATH="/deepmusic/{python.parent.relative_to(image)}:' in DOCKERFILE.read_text()
    paths = {container["args"][1] for container in _containers(documents[0]).values()}
    types = set(re.findall(r"title: (components\.\w+)", json.dumps(documents)))
    assert types >= {"components.IngestReport", "components.RunReport"}
    code = (
        "import sys\nfrom tfx.utils.import_utils import import_class_by_path\nimport pipeline.kubeflow.step\n"
        "for path in sys.argv[1:]: print(path, import_class_by_path(path).__module__)\n"
        "print('step', pipeline.kubeflow.step.__file__)"
    )
    # As a step does it: types before anything else has imported their module.
    done = _output([str(python), "-W", "ignore", "-c", code, *sorted(types), *sorted(paths)], image)
    assert done.returncode == 0, done.stderr
    imported = dict(line.split() for line in done.stdout.splitlines())
    assert set(imported) == {*types, *paths, "step"}
    assert imported["step"] == str(image / "pipeline" / "kubeflow" / "step.py")


def _output(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


# Steps of the specification, by their own commands


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Engine, Told, Path]:
    """The compiled file with its first two steps only, run once with data given at run time."""
    folder = tmp_path_factory.mktemp("kubeflow")
    data, labels = write_catalogue(folder)
    settings = load_settings(assignments=["name=small"], texts={"data.path": str(folder / "nowhere")})
    file = write_specification(folder, specification(settings, str(folder)))
    pipeline = read_specification(file)
    for name in set(pipeline.root.dag.tasks) - {"TrackExampleGen", "StatisticsGen"}:
        del pipeline.root.dag.tasks[name]
    told = Told()
    engine = Engine(folder / "runs", told)
    engine.run(pipeline, {"data": str(data), "labels": str(labels)})
    return pipeline, engine, told, folder


def test_steps_hand_on_artifacts(ingested: tuple[Any, Engine, Told, Path]) -> None:
    _, _, _, folder = ingested
    run = folder / "runs" / "1"
    assert (run / "StatisticsGen" / "statistics" / "Split-train" / "FeatureStats.pb").is_file()
    record = json.loads((run / "TrackExampleGen" / "record.json").read_text())
    (examples,) = record["artifacts"]["examples"]["artifacts"]
    assert json.loads(examples["metadata"]["split_names"]) == ["train", "validation", "test"]
    assert re.fullmatch("[0-9a-f]{32}", examples["metadata"]["input_fingerprint"])
    assert examples["metadata"]["component"] == "TrackExampleGen"
    assert examples["metadata"]["seconds"] > 0


def test_a_step_with_equal_input_is_not_run_again(ingested: tuple[Any, Engine, Told, Path]) -> None:
    pipeline, engine, told, folder = ingested
    told.steps.clear()
    made = engine.run(pipeline, {"data": str(folder / "tracks"), "labels": str(folder / "labels.csv")})
    assert told.steps == {"TrackExampleGen": False, "StatisticsGen": True}
    (statistics,) = made["StatisticsGen"].artifacts["statistics"].artifacts
    assert statistics.uri == str(folder / "runs" / "1" / "StatisticsGen" / "statistics")


def test_a_fault_of_the_input_is_told_without_a_trace(ingested: tuple[Any, Engine, Told, Path]) -> None:
    pipeline, engine, _, folder = ingested
    with pytest.raises(StepFailed) as failed:
        engine.run(pipeline)
    assert str(failed.value) == f"The data folder {folder / 'nowhere'} is not there."
    assert (failed.value.step, failed.value.not_run) == ("TrackExampleGen", ["StatisticsGen"])
    assert "Traceback" not in failed.value.log.read_text()


def test_an_unknown_parameter_is_refused(ingested: tuple[Any, Engine, Told, Path]) -> None:
    pipeline, engine, _, _ = ingested
    with pytest.raises(PipelineInputError, match="no parameter date"):
        engine.run(pipeline, {"date": "x"})
