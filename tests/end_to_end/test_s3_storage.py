"""Data, artifacts, pushed versions and answers on S3, with a run's components working on copies."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from components.pusher.folder import Place, place, places
from components.storage.places import read
from deepmusic_genre.errors import PipelineInputError
from pipeline.metadata.cleaning import Cleaned, clean
from pipeline.pushed import pushed_models, pushed_version
from pipeline.settings import load_settings
from tests.support import forks
from tests.support.command import call
from tests.support.remote_run import RemoteRun, run_in
from tests.support.s3_server import BUCKET, Store, s3_server
from tests.support.tracks import write_catalogue

pytestmark = pytest.mark.slow

TRACKS = 40


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with s3_server() as served:
        yield served


@pytest.fixture(scope="module")
def remote_run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> RemoteRun:
    folder = tmp_path_factory.mktemp("remote")
    data, labels = write_catalogue(folder, tracks=TRACKS)
    store.put_folder(data, "music")
    store.put("labels.csv", labels.read_bytes())
    return run_in(BUCKET, folder)


def artifact(store: Store, component: str, key: str, file: str) -> bytes:
    names = [name for name in store.names("deep/mine/artifacts/") if f"/{component}/{key}/" in name]
    (name,) = (name for name in names if name.endswith(f"/{file}"))
    return store.get(name)


def test_a_run_leaves_in_the_bucket_what_it_made(store: Store, remote_run: RemoteRun) -> None:
    version = pushed_version(remote_run.settings.pushed, None)
    assert f"Pushed to {version}\n" in remote_run.stdout
    assert re.search(rf"^report: {BUCKET}/deep/mine/artifacts/[^/]+/ReportGen/report/", remote_run.stdout, re.M)
    summary = json.loads(artifact(store, "TrackExampleGen", "report", "summary.json"))
    assert (summary["read"], summary["rejected"]) == (TRACKS, 0)
    assert artifact(store, "ReportGen", "report", "report.html").startswith(b"<!DOCTYPE html>")
    assert str(remote_run.settings.home).encode() not in artifact(store, "ReportGen", "report", "report.json")
    here = {path.name for path in Path(remote_run.settings.home).iterdir()}
    assert here == {"lock", "logs", "metadata.sqlite", "shards"}


def test_a_version_has_the_layout_of_tf_serving(store: Store, remote_run: RemoteRun) -> None:
    version = pushed_version(remote_run.settings.pushed, None).removeprefix(f"{BUCKET}/")
    assert re.fullmatch(r"deep/mine/pushed/\d+", version)
    files = {name.removeprefix(f"{version}/") for name in store.names("deep/mine/pushed/")}
    assert {"saved_model.pb", "variables/variables.index", "assets.extra/description.json"} <= files
    assert not any("incoming" in name for name in files)


def test_commands_that_read_versions_and_reports_work_or_say_that_they_do_not(
    remote_run: RemoteRun, capfd: pytest.CaptureFixture[str]
) -> None:
    version = pushed_version(remote_run.settings.pushed, None)
    assert call("versions", "--settings", str(remote_run.file)) == 0
    shown = capfd.readouterr().out
    assert version.rpartition("/")[2] in shown
    assert "checks passed" in shown
    assert call("report", "--settings", str(remote_run.file)) == 1
    assert "which a browser here cannot open" in capfd.readouterr().err
    with pytest.raises(
        PipelineInputError, match=rf"^{remote_run.settings.pushed} is not a .*: copy a version to one\.$"
    ):
        pushed_models(remote_run.settings)


def test_a_catalogue_in_the_bucket_is_tagged_into_it(remote_run: RemoteRun) -> None:
    arguments = ("--settings", str(remote_run.file), "--data", f"{BUCKET}/music", "--out", f"{BUCKET}/answers")
    tagged = forks.run("deepmusic_genre", ["tag", *arguments], timeout=120)
    assert tagged.returncode == 0, tagged.stdout
    answers = pd.read_parquet(pa.BufferReader(read(f"{BUCKET}/answers/predictions.parquet")))
    assert len(answers) == TRACKS
    assert not list(Path(remote_run.settings.home).glob("copy-*"))


def test_a_run_that_may_not_write_pushes_nothing_and_the_next_goes_on(store: Store, remote_run: RemoteRun) -> None:
    before = places(remote_run.settings.pushed)
    with store.refusing("s3:PutObject", "deep/mine/artifacts/*/Predictor/*"):
        refused = remote_run.again("training.seed=1")
    assert refused.returncode == 1
    assert re.search(r"^Predictor: failed, OSError: .*ACCESS_DENIED", refused.stdout, re.M), refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert places(remote_run.settings.pushed) == before
    assert not any("/Predictor/" in name for name in _newest_run(store))
    went_on = remote_run.again("training.seed=1")
    assert went_on.returncode == 0, went_on.stdout
    assert re.search(r"^Trainer-tangent .*from the cache$", went_on.stdout, re.M), went_on.stdout
    second = pushed_version(remote_run.settings.pushed, None)
    assert int(second.rpartition("/")[2]) not in before


def _newest_run(store: Store) -> list[str]:
    runs = sorted({name.split("/")[3] for name in store.names("deep/mine/artifacts/")} - {"splits"})
    return store.names(f"deep/mine/artifacts/{runs[-1]}/")


def test_a_way_back_and_what_is_old_goes(
    store: Store, remote_run: RemoteRun, capfd: pytest.CaptureFixture[str]
) -> None:
    pushed = remote_run.settings.pushed
    first, second = (version for version, state in places(pushed).items() if state in (Place.KEPT, Place.LIVE))
    for version in (first, second):
        assert call("rollback", "--settings", str(remote_run.file), "--version", str(version)) == 0
        assert place(pushed, version) is Place.LIVE
    kept = load_settings(remote_run.file, ["keep.runs=1", "keep.versions=1"])
    cleaned = clean(kept)
    assert cleaned.versions >= 1
    assert cleaned.artifacts > 1
    assert places(pushed) == {second: Place.LIVE}
    assert clean(kept) == Cleaned()
