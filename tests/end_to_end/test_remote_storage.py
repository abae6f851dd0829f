"""Data, artifacts, pushed versions and answers in a bucket."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.pusher.folder import INCOMING, WITHDRAWN, Place, place, roll_back
from components.track_example_gen.catalogue import list_analyses
from deepmusic_genre.errors import PipelineInputError
from pipeline.checks.storage import require_storage
from pipeline.metadata.cleaning import Cleaned, clean
from pipeline.metadata.leftovers import remove_leftovers
from pipeline.pushed import pushed_models, pushed_version
from pipeline.settings import load_settings
from serving.batch.folder import Job
from serving.batch.model import identify
from serving.batch.run import tag
from tests.components.test_pusher import FILES, push
from tests.support.answers import own_answers
from tests.support.command import call
from tests.support.gcs_server import BUCKET, Bucket, gcs_server
from tests.support.ingestion import IN_PROCESS
from tests.support.remote_run import RemoteRun, run_in
from tests.support.tracks import GENRES, write_catalogue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as (served, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield served


@pytest.fixture(scope="module")
def remote_run(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> RemoteRun:
    folder = tmp_path_factory.mktemp("remote")
    data, labels = write_catalogue(folder, tracks=60)
    for file in data.iterdir():
        bucket.put(f"music/{file.name}", file.read_bytes())
    bucket.put("labels.csv", labels.read_bytes())
    return run_in(f"gs://{BUCKET}", folder)


def artifact(bucket: Bucket, component: str, key: str, file: str) -> bytes:
    names = [name for name in bucket.names("deep/mine/artifacts/") if f"/{component}/{key}/" in name]
    (name,) = (name for name in names if name.endswith(f"/{file}"))
    return bucket.objects[name][0]


def test_a_run_leaves_in_the_bucket_what_it_made(bucket: Bucket, remote_run: RemoteRun) -> None:
    assert "60 tracks: " in remote_run.stdout
    version = pushed_version(remote_run.settings.pushed, None)
    assert f"Pushed to {version}\n" in remote_run.stdout
    assert re.search(rf"^report: gs://{BUCKET}/deep/mine/artifacts/[^/]+/ReportGen/report/", remote_run.stdout, re.M)
    summary = json.loads(artifact(bucket, "TrackExampleGen", "report", "summary.json"))
    assert (summary["read"], summary["rejected"]) == (60, 0)
    assert artifact(bucket, "ReportGen", "report", "report.html").startswith(b"<!DOCTYPE html>")
    here = {path.name for path in Path(remote_run.settings.home).iterdir()}
    assert here == {"lock", "logs", "metadata.sqlite"}


def test_a_server_sees_a_version_when_it_is_whole(bucket: Bucket, remote_run: RemoteRun) -> None:
    version = pushed_version(remote_run.settings.pushed, None).removeprefix(f"gs://{BUCKET}/")
    generations = {
        name.removeprefix(f"{version}/"): bucket.objects[name][1]
        for name in bucket.names(f"{version}/")
        if not name.endswith("/")
    }
    assert max(generations, key=lambda name: generations[name]) == "saved_model.pb"
    assert {"variables/variables.index", "assets.extra/description.json"} <= set(generations)
    assert not bucket.names(f"deep/mine/pushed/{INCOMING}")


def test_the_versions_are_listed_with_their_scores(
    bucket: Bucket, remote_run: RemoteRun, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("versions", "--settings", str(remote_run.file)) == 0
    shown = capfd.readouterr().out
    assert pushed_version(remote_run.settings.pushed, None).rpartition("/")[2] in shown
    assert "tangent" in shown
    assert "checks passed" in shown


def test_a_server_of_this_machines_folders_says_who_reads_the_bucket(remote_run: RemoteRun) -> None:
    with pytest.raises(PipelineInputError, match=rf"--model_base_path={remote_run.settings.pushed}"):
        pushed_models(remote_run.settings)


def test_a_catalogue_in_the_bucket_is_tagged_into_it(bucket: Bucket, remote_run: RemoteRun, tmp_path: Path) -> None:
    model, out = pushed_version(remote_run.settings.pushed, None), f"gs://{BUCKET}/answers"
    job = Job(f"gs://{BUCKET}/music", identify(model))
    assert tag(job, model, out, IN_PROCESS, lambda _: None).tagged == 60
    assert tag(job, model, out, IN_PROCESS, lambda _: None).tagged == 0
    reference = artifact(bucket, "Refitter", "model_run", "reference.npz")
    (tmp_path / "reference.npz").write_bytes(reference)
    ids, expected = own_answers(tmp_path)
    answers = pd.read_parquet(pa.BufferReader(bucket.objects["answers/predictions.parquet"][0])).set_index("track_id")
    assert len(answers) == 60
    assert answers.loc[ids]["genre"].tolist() == [GENRES[index] for index in expected.argmax(axis=1)]
    with pytest.raises(PipelineInputError, match=r"is inside of gs://"):
        tag(job, model, f"gs://{BUCKET}/music/answers", IN_PROCESS, lambda _: None)


@contextmanager
def no_part_of_a_version(bucket: Bucket, pushed: str) -> Iterator[list[set[int]]]:
    """Sees to it that no server could load a part of one; yields the versions that it could load, moment by moment."""
    looks: list[set[int]] = []

    def look() -> None:
        names = set(bucket.names(f"{pushed}/"))
        loadable = {
            int(version)
            for version in {name.split("/")[1] for name in names}
            if version.isdigit() and f"{pushed}/{version}/saved_model.pb" in names
        }
        for version in loadable:
            assert {f"{pushed}/{version}/{file}" for file in FILES} <= names
        looks.append(loadable)

    faults: list[AssertionError] = []

    def guarded() -> None:
        try:
            look()
        except AssertionError as error:
            faults.append(error)

    bucket.seen = guarded
    try:
        yield looks
    finally:
        bucket.seen = lambda: None
    assert not faults


def test_a_push_and_a_way_back_show_no_part_of_a_version(bucket: Bucket, tmp_path: Path) -> None:
    uri = f"gs://{BUCKET}/served"
    for version in (7, 8):
        for file in FILES:
            bucket.put(f"served/{version}/{file}", b"x")
    with no_part_of_a_version(bucket, "served") as looks:
        output = push(tmp_path, uri, size=3)
        number = int(output.get_string_custom_property("pushed_version"))
        assert output.get_string_custom_property("pushed_destination") == f"{uri}/{number}"
        assert place(uri, number) is Place.LIVE
        assert roll_back(uri, 7) == [8, number]
    assert {7, 8} in looks
    assert {7, 8, number} in looks
    assert looks[-1] == {7}
    with no_part_of_a_version(bucket, "served"):
        assert roll_back(uri, number) == []
    assert [place(uri, version).value for version in (7, 8, number)] == ["kept", "withdrawn", "live"]
    assert bucket.objects[f"served/{number}/saved_model.pb"][0] == bytes(3)


def test_a_way_back_that_was_stopped_is_gone_on_with(bucket: Bucket) -> None:
    for file in FILES:
        bucket.put(f"stopped/1/{file}", b"x")
        bucket.put(f"stopped/{WITHDRAWN}/2/{file}", b"x")
    # Copied as a whole, and not removed as a whole.
    bucket.put(f"stopped/2/{FILES[-1]}", b"x")
    assert roll_back(f"gs://{BUCKET}/stopped", 1) == [2]
    assert bucket.names("stopped/2/") == []
    assert {f"stopped/{WITHDRAWN}/2/{file}" for file in FILES} <= set(bucket.names("stopped/"))


def test_a_way_forward_that_was_stopped_is_gone_on_with(bucket: Bucket) -> None:
    for file in FILES:
        bucket.put(f"forward/1/{file}", b"x")
        bucket.put(f"forward/{WITHDRAWN}/2/{file}", b"x")
    bucket.put(f"forward/2/{FILES[-1]}", b"x")
    assert roll_back(f"gs://{BUCKET}/forward", 2) == []
    assert place(f"gs://{BUCKET}/forward", 2) is Place.LIVE
    assert bucket.names(f"forward/{WITHDRAWN}/2/") == []


def test_what_a_killed_run_left_in_the_bucket_goes(bucket: Bucket, tmp_path: Path) -> None:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    with metadata.Metadata(connection) as handle:
        kind = handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name="Trainer"))
        states = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.RUNNING)
        done, killed = handle.store.put_executions(
            [metadata_store_pb2.Execution(type_id=kind, last_known_state=state) for state in states]
        )
        for name in ("pipeline", "pipeline_run"):
            context_type = handle.store.put_context_type(metadata_store_pb2.ContextType(name=name))
            (context,) = handle.store.put_contexts([metadata_store_pb2.Context(type_id=context_type, name="run")])
            handle.store.put_attributions_and_associations(
                [], [metadata_store_pb2.Association(context_id=context, execution_id=each) for each in (done, killed)]
            )
    for execution in (done, killed):
        bucket.put(f"left/artifacts/run/Trainer/model/{execution}/file", b"x")
        bucket.put(f"left/artifacts/another/Trainer/model/{execution}/file", b"x")
    bucket.put(f"left/artifacts/run/Trainer/.system/executor_execution/{killed}/file", b"x")
    remove_leftovers(f"gs://{BUCKET}/left/artifacts", connection, "run")
    assert bucket.names("left/") == [
        *(f"left/artifacts/another/Trainer/model/{execution}/file" for execution in (done, killed)),
        f"left/artifacts/run/Trainer/model/{done}/file",
    ]


def test_a_place_that_cannot_be_written_to_is_named_before_a_run(bucket: Bucket, tmp_path: Path) -> None:
    before = bucket.names()
    require_storage(f"gs://{BUCKET}", IN_PROCESS)
    assert bucket.names() == before
    with pytest.raises(
        PipelineInputError,
        match=r"^TensorFlow cannot write to nowhere://there and read it: .*mount any other",
    ):
        require_storage("nowhere://there", IN_PROCESS)
    with pytest.raises(PipelineInputError, match=r"^Beam cannot write to gs://elsewhere and read it: .*404"):
        require_storage("gs://elsewhere", IN_PROCESS)
    require_storage(str(tmp_path / "not made"), IN_PROCESS)
    assert not (tmp_path / "not made").exists()


def test_data_on_an_unknown_file_system_are_refused_with_a_line() -> None:
    with pytest.raises(PipelineInputError, match=r"^The data folder nowhere://music cannot be looked for: "):
        list_analyses("nowhere://music")


def test_old_runs_and_versions_are_removed_from_the_bucket(bucket: Bucket, remote_run: RemoteRun) -> None:
    def models() -> set[str]:
        names = bucket.names("deep/mine/artifacts/")
        return {found[1] for name in names if (found := re.search("/Trainer-tangent/model/([^/]+)/", name))}

    first = pushed_version(remote_run.settings.pushed, None)
    assert remote_run.again("training.seed=1").returncode == 0
    second, before = pushed_version(remote_run.settings.pushed, None), models()
    kept = load_settings(remote_run.file, ["keep.runs=1", "keep.versions=1"])
    cleaned = clean(kept)
    assert cleaned.versions == 1
    assert cleaned.artifacts > 1
    assert models() == {max(before, key=int)} < before
    assert bucket.names(first.removeprefix(f"gs://{BUCKET}/")) == []
    assert pushed_version(remote_run.settings.pushed, None) == second != first
    assert clean(kept) == Cleaned()
    again = remote_run.again("training.seed=1")
    assert re.search(r"^Trainer-tangent .*from the cache$", again.stdout, re.MULTILINE), again.stdout
