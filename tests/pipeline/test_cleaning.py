"""Tests of what is removed of old runs, on a real metadata database and real files."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.orchestration import metadata

from components.artifacts import IngestReport
from components.pusher.folder import WITHDRAWN, roll_back
from components.trainer.description import ModelDescription
from pipeline.metadata.cleaning import Cleaned, clean
from pipeline.metadata.history import History
from pipeline.settings import Settings, load_settings
from tests.components.test_pusher import write_version
from tests.conftest import FinishedRun
from tests.support.command import call
from tests.support.tracks import GENRES

_Event = metadata_store_pb2.Event
_Artifact = metadata_store_pb2.Artifact
C1M1 = ModelDescription("c1m1", list(GENRES))


class _Home:
    """A pipeline's folder with runs of three components that each leave artifacts of a hundred bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mine"
        self.pushed = self.folder / "pushed"
        self.pushed.mkdir(parents=True)
        connection = metadata.sqlite_metadata_connection_config(str(self.folder / "metadata.sqlite"))
        self._metadata = metadata.Metadata(connection)
        self._runs = 0

    def shard(self, name: str, age: float = 0.0) -> Path:
        shard = self.folder / "artifacts" / "shards" / name
        shard.mkdir(parents=True)
        for file in ("train", "outcomes.jsonl"):
            (shard / file).write_bytes(bytes(100))
            os.utime(shard / file, (time.time() - age, time.time() - age))
        return shard

    def run(self, shard: str = "a", version: int | None = None, **differs: Any) -> None:
        """A run; ``differs`` says whether it is ``blessed``, ``ended``, and the ``description`` of its model."""
        blessed, ended = differs.get("blessed", version is not None), differs.get("ended", True)
        self._runs += 1
        with self._metadata as handle:
            self._store = handle.store
            run = self._context("pipeline_run", f"run-{self._runs}")
            report, statistics = self._execute(
                run, "Gen", {}, {"report": IngestReport.TYPE_NAME, "statistics": "Stats"}
            )
            Path(report.uri, "shards.json").write_text(json.dumps([shard]))
            read = {"statistics": statistics}
            model, blessing, verdict = self._execute(
                run, "Trainer", read, {"model": "Model", "blessing": "ModelBlessing", "verdict": "Verdict"}
            )
            differs.get("description", C1M1).save(f"{model.uri}/Format-Serving", [])
            blessing.custom_properties["blessed"].int_value = int(blessed)
            blessing.custom_properties["current_model_id"].int_value = model.id
            self._store.put_artifacts([blessing])
            if version is not None:
                (pushed,) = self._execute(run, "Pusher", {"model": model}, {"pushed_model": "PushedModel"})
                pushed.custom_properties["pushed_version"].string_value = str(version)
                self._store.put_artifacts([pushed])
                write_version(self.pushed / str(version), 100)
            if ended:
                self._execute(run, "ReportGen", {"verdict": verdict}, {"report": "Report"})

    def there(self, key: str) -> list[int]:
        """The runs whose artifacts of a key are there, as files and for ML Metadata."""
        live = []
        with self._metadata as handle:
            for artifact in handle.store.get_artifacts():
                _, made_by, name, run = artifact.uri.rsplit("/", 3)
                assert (artifact.state == _Artifact.LIVE) == Path(artifact.uri).is_dir()
                if name == key and artifact.state == _Artifact.LIVE and made_by != "ReportGen":
                    live.append(int(run))
        return sorted(live)

    def states(self) -> set[int]:
        with self._metadata as handle:
            return {artifact.state for artifact in handle.store.get_artifacts()}

    def clean(self, runs: int | None = None, versions: int | None = None) -> Cleaned:
        return clean(_settings(self.folder, runs, versions))

    def _context(self, kind: str, name: str) -> int:
        type_id = self._store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        known = self._store.get_context_by_type_and_name(kind, name)
        new = metadata_store_pb2.Context(type_id=type_id, name=name)
        return int(known.id if known else self._store.put_contexts([new])[0])

    def _execute(self, run: int, component: str, inputs: dict[str, Any], outputs: dict[str, str]) -> list[Any]:
        execution = metadata_store_pb2.Execution(
            type_id=self._store.put_execution_type(metadata_store_pb2.ExecutionType(name=component)),
            last_known_state=metadata_store_pb2.Execution.COMPLETE,
        )
        events = [(key, artifact, _Event.INPUT) for key, artifact in inputs.items()]
        for key, name in outputs.items():
            uri = self.folder / "artifacts" / f"run-{self._runs}" / component / key / str(self._runs)
            uri.mkdir(parents=True)
            (uri / "file").write_bytes(bytes(100))
            type_id = self._store.put_artifact_type(metadata_store_pb2.ArtifactType(name=name))
            events.append((key, _Artifact(type_id=type_id, uri=str(uri), state=_Artifact.LIVE), _Event.OUTPUT))
        pairs = [
            (artifact, _Event(type=kind, path=_Event.Path(steps=[_Event.Path.Step(key=key)])))
            for key, artifact, kind in events
        ]
        contexts = [
            metadata_store_pb2.Context(id=number, type_id=self._store.get_context_type(kind).id, name=name)
            for kind, name, number in (
                ("pipeline", self.folder.name, self._context("pipeline", self.folder.name)),
                ("pipeline_run", f"run-{self._runs}", run),
                ("node", f"mine.{component}", self._context("node", f"mine.{component}")),
            )
        ]
        _, artifacts, _ = self._store.put_execution(execution, pairs, contexts)
        return list(self._store.get_artifacts_by_id(artifacts[len(inputs) :]))


def _settings(home: Path, runs: int | None, versions: int | None) -> Settings:
    keep = [f"keep.{key}={json.dumps(value)}" for key, value in (("runs", runs), ("versions", versions))]
    return load_settings(assignments=keep, texts={"name": home.name, "output": str(home.parent)})


@pytest.fixture
def home(tmp_path: Path) -> _Home:
    return _Home(tmp_path)


def test_artifacts_of_the_last_runs_stay(home: _Home) -> None:
    for _ in range(4):
        home.run()
    cleaned = home.clean(runs=2)
    assert home.there("statistics") == home.there("model") == [3, 4]
    # Six artifacts of two runs, each with a file of a hundred bytes.
    assert (cleaned.artifacts, cleaned.versions) == (12, 0)
    assert cleaned.bytes > 1200
    assert str(cleaned) == "removed 12 artifacts: " + str(cleaned).rpartition(": ")[2]
    assert home.clean(runs=2) == Cleaned()


def test_without_a_policy_everything_stays(home: _Home) -> None:
    for version in (1, 2):
        home.run(version=version)
    assert home.clean() == Cleaned()
    assert home.there("model") == [1, 2]
    assert str(Cleaned()) == "nothing to remove"


def test_fewer_runs_than_are_kept_all_stay(home: _Home) -> None:
    home.run()
    home.run(ended=False)
    assert home.clean(runs=2) == Cleaned()


def test_runs_that_did_not_come_to_their_end_push_no_good_one_out(home: _Home) -> None:
    home.run()
    home.run()
    for _ in range(3):
        home.run(ended=False)
    home.clean(runs=1)
    assert home.there("model") == [2, 3, 4, 5]


def test_run_that_made_the_latest_blessed_model_stays_for_each_kind_of_model(home: _Home) -> None:
    home.run(blessed=True)
    home.run(blessed=True)
    home.run(blessed=True, description=ModelDescription("tangent", list(GENRES)))
    home.run()
    home.run()
    home.clean(runs=1)
    assert home.there("model") == home.there("statistics") == home.there("blessing") == [2, 3, 5]


def test_live_version_stays_with_its_run_and_others_with_what_is_said_of_them(home: _Home) -> None:
    for version in (1, 2, 3):
        home.run(version=version)
    roll_back(str(home.pushed), 1)
    home.run(blessed=True)
    home.run()
    home.clean(runs=1)
    assert home.there("model") == [1, 4, 5]
    assert home.there("verdict") == home.there("statistics") == [1, 2, 3, 4, 5]


def test_version_that_was_pushed_again_as_it_is_stays_with_both_runs_and_goes_with_both(home: _Home) -> None:
    home.run(version=1)
    home.run(version=1)
    home.run(blessed=True)
    home.run()
    home.clean(runs=1)
    assert home.there("model") == [1, 2, 3, 4]
    write_version(home.pushed / "2", 100)
    home.clean(versions=1)
    assert home.there("pushed_model") == []


@pytest.mark.parametrize(
    ("rolled_back_to", "keep", "served", "withdrawn"),
    [
        (None, 2, ["3", "4"], []),
        (None, 1, ["4"], []),
        (1, 1, ["1"], ["4"]),
        (3, 2, ["3"], ["4"]),
        (2, 1, ["2"], ["4"]),
        (None, 9, ["1", "2", "3", "4"], []),
    ],
)
def test_live_version_and_the_newest_stay(
    home: _Home, rolled_back_to: int | None, keep: int, served: list[str], withdrawn: list[str]
) -> None:
    for version in (1, 2, 3, 4):
        home.run(version=version)
    if rolled_back_to:
        roll_back(str(home.pushed), rolled_back_to)
    cleaned = home.clean(versions=keep)
    assert cleaned.versions == 4 - len(served) - len(withdrawn)
    assert sorted(child.name for child in home.pushed.iterdir() if child.name.isdigit()) == served
    assert sorted(child.name for child in (home.pushed / WITHDRAWN).glob("*")) == withdrawn
    # So that the cache pushes a model again whose version is gone, and nothing else is done anew.
    assert home.there("pushed_model") == sorted(map(int, served + withdrawn))
    assert home.there("model") == [1, 2, 3, 4]


def test_shards_that_no_kept_run_uses_go_but_not_those_of_an_unfinished_ingestion_or_the_splits(
    home: _Home,
) -> None:
    for name in ("a", "b", "c"):
        home.shard(name, age=100)
    half, unfinished = home.shard("d.part", age=100), home.shard("e", age=-100)
    splits = home.folder / "artifacts" / "splits" / "artist.json"
    splits.parent.mkdir()
    splits.touch()
    home.run(shard="a")
    home.run(shard="b")
    cleaned = home.clean(runs=1)
    assert cleaned.shards == 3
    assert sorted(path.name for path in half.parent.iterdir()) == ["b", unfinished.name]
    assert splits.exists()


def test_what_lies_elsewhere_is_left_alone(home: _Home, tmp_path: Path) -> None:
    home.run()
    precious = tmp_path / "mine-too"
    (home.folder / "artifacts").rename(precious)
    with home._metadata as handle:
        moved = handle.store.get_artifacts()
        for artifact in moved:
            artifact.uri = artifact.uri.replace(str(home.folder / "artifacts"), str(precious))
        handle.store.put_artifacts(moved)
    home.run()
    assert home.clean(runs=1) == Cleaned()
    assert (precious / "run-1" / "Trainer" / "model" / "1" / "file").is_file()


def test_what_killed_components_left_goes_and_no_run_that_the_metadata_do_not_know(home: _Home) -> None:
    home.run()
    home.run()
    artifacts = home.folder / "artifacts"
    left = ("run-1/Gen/report/99", "run-2/Trainer/.system/executor_execution/1", "Trainer/.system/executor_execution/1")
    unknown = "of-lost-metadata/ReportGen/report/7"
    for folder in (*left, unknown):
        (artifacts / folder).mkdir(parents=True)
        (artifacts / folder / "file").write_bytes(bytes(100))
    home.clean(runs=2)
    assert [folder for folder in left if (artifacts / folder).exists()] == []
    assert (artifacts / unknown / "file").is_file()
    assert home.there("statistics") == [1, 2]
    home.clean(runs=1)
    assert not (artifacts / "run-1").exists()


def test_logs_from_before_the_runs_that_stay_go(home: _Home) -> None:
    home.run()
    (home.folder / "logs").mkdir()
    for name, age in (("old.log", 3600), ("new.log", -1)):
        (home.folder / "logs" / name).write_bytes(bytes(100))
        os.utime(home.folder / "logs" / name, (time.time() - age, time.time() - age))
    cleaned = home.clean(runs=1)
    assert (cleaned.logs, cleaned.bytes) == (1, 100)
    assert str(cleaned) == "removed 1 logs: 100 bytes"
    assert [file.name for file in (home.folder / "logs").iterdir()] == ["new.log"]


@pytest.mark.parametrize("removals", range(0, 12, 3))
def test_clean_that_was_stopped_goes_on(home: _Home, monkeypatch: pytest.MonkeyPatch, removals: int) -> None:
    for version in (1, 2, 3):
        home.run(version=version)
    removed: list[str] = []
    rmtree = shutil.rmtree

    def killed(path: str) -> None:
        if len(removed) == removals:
            raise KeyboardInterrupt
        removed.append(path)
        rmtree(path)

    with monkeypatch.context() as patch:
        patch.setattr(fileio, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            home.clean(runs=1, versions=1)
    # The two versions go first.
    artifacts = max(removals - 2, 0)
    done = {_Artifact.DELETED} if artifacts else set()
    assert home.states() == {_Artifact.LIVE, _Artifact.MARKED_FOR_DELETION, *done}
    assert home.clean(runs=1, versions=1).artifacts == 14 - artifacts
    assert home.states() == {_Artifact.LIVE, _Artifact.DELETED}
    assert home.there("model") == [3]


def test_stopped_removal_of_a_version_goes_on(home: _Home) -> None:
    for version in (1, 2):
        home.run(version=version)
    (home.pushed / "1" / "saved_model.pb").unlink()
    home.clean(versions=1)
    assert sorted(child.name for child in home.pushed.iterdir()) == ["2"]


def test_version_that_is_not_whole_pushes_none_out_that_is(home: _Home) -> None:
    for version in (1, 2):
        home.run(version=version)
    # As a push that was stopped on an object store leaves it.
    (home.pushed / "3" / "variables").mkdir(parents=True)
    home.clean(runs=1, versions=1)
    assert [child.name for child in home.pushed.iterdir()] == ["2"]
    assert home.there("pushed_model") == [2]


# The command


def test_command_without_a_policy_or_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("clean", f"output={tmp_path}") == 1
    assert "keep.runs and keep.versions are null, so everything is kept" in capsys.readouterr().err
    assert call("clean", f"output={tmp_path}", "keep.runs=1") == 1
    assert f"There are no runs in {tmp_path}/deepmusic or {tmp_path}/deepmusic-demo." in capsys.readouterr().err


def test_what_kept_runs_need_is_never_removed(finished_run: FinishedRun) -> None:
    connection = metadata.sqlite_metadata_connection_config(str(finished_run.home / "metadata.sqlite"))
    with finished_run.alone():
        with metadata.Metadata(connection) as handle:
            # Other tests' runs are there too, if they were first.
            runs = len(History(handle, "small").runs)
        # A run that took all from the cache has left a folder without any file.
        before = sorted(path for path in finished_run.home.rglob("*") if path.is_file())
        assert clean(_settings(finished_run.home, runs, 1)) == Cleaned()
        assert sorted(path for path in finished_run.home.rglob("*") if path.is_file()) == before
