"""Metadata in a database server: a real PostgreSQL."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from deepmusic_genre.errors import PipelineInputError
from pipeline.metadata.address import PASSWORD_VARIABLE
from pipeline.metadata.database import (
    MetadataAway,
    artifacts_of,
    await_server,
    connection_of,
    open_server,
    require_database,
)
from pipeline.metadata.lineage import Lineage
from pipeline.metadata.store import PatientMetadata
from pipeline.settings import Settings, load_settings
from tests.conftest import ROOT, free_port, run_local
from tests.support import forks
from tests.support.command import call, with_settings
from tests.support.postgresql import PASSWORD, PostgreSQL, running
from tests.support.tracks import write_catalogue

pytestmark = pytest.mark.database

_ODD = 'C:\\music\\"Hits" {"a": "[\\"b\\"]"} \\u00fc it\'s ü'
_OPEN = """
import sys
from pathlib import Path
from pipeline.metadata.database import open_server
from pipeline.settings import load_settings
settings = load_settings(None, [], {"metadata.database": sys.argv[1]})
print(len(open_server(settings, settings.metadata.address).get_executions()))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)


def _settings(address: str, output: Path, name: str = "small") -> Settings:
    texts = {"metadata.database": address, "output": str(output), "name": name}
    settings = load_settings(texts=texts)
    Path(settings.home).mkdir(parents=True, exist_ok=True)
    return settings


def _refusal(settings: Settings) -> str:
    with pytest.raises(PipelineInputError) as refused:
        require_database(settings)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_texts_come_back_as_they_were_put(server: PostgreSQL, tmp_path: Path) -> None:
    connection = connection_of(_settings(server.address("texts"), tmp_path))
    with PatientMetadata(connection) as handle:
        kind = handle.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Some"))
        artifact = metadata_store_pb2.Artifact(type_id=kind, uri=_ODD, name=_ODD)
        artifact.custom_properties["config"].string_value = _ODD
        handle.store.put_artifacts([artifact])
    with PatientMetadata(connection) as handle:
        found = handle.store.get_artifact_by_type_and_name("Some", _ODD)
        assert (found.uri, found.name, found.custom_properties["config"].string_value) == (_ODD, _ODD, _ODD)
        assert [each.id for each in handle.store.get_artifacts_by_uri(_ODD)] == [found.id]


def test_artifacts_come_in_the_order_in_which_they_are_asked_for(server: PostgreSQL, tmp_path: Path) -> None:
    with PatientMetadata(connection_of(_settings(server.address("ordered"), tmp_path))) as handle:
        kind = handle.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Some"))
        artifacts = [metadata_store_pb2.Artifact(type_id=kind, uri=f"/{each}") for each in range(3)]
        numbers = handle.store.put_artifacts(artifacts)
        # PostgreSQL answers with what was changed last at the end.
        for artifact in handle.store.get_artifacts_by_id(numbers[:2]):
            artifact.state = metadata_store_pb2.Artifact.LIVE
            handle.store.put_artifacts([artifact])
        assert [each.id for each in handle.store.get_artifacts_by_id(numbers)] == numbers
        asked = [numbers[2], numbers[0], numbers[1]]
        assert [each.id for each in handle.store.get_artifacts_by_id(asked)] == asked
        assert [each.id for each in handle.store.get_artifacts()] == numbers


def test_a_wrong_password_is_told_in_a_line_that_does_not_show_it(
    server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = _settings(server.address("texts"), tmp_path)
    monkeypatch.setenv(PASSWORD_VARIABLE, "not it, it's")
    told = _refusal(settings)
    assert "password authentication failed" in told
    assert PASSWORD_VARIABLE in told
    assert "not it" not in told + "".join(capfd.readouterr())


def test_the_password_may_stand_in_a_file(server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE)
    monkeypatch.chdir(tmp_path)
    settings = _settings(server.address("texts"), tmp_path)
    assert "no password supplied" in _refusal(settings)
    quoted = PASSWORD.replace("\\", "\\\\")
    (tmp_path / ".env").write_text(f'{PASSWORD_VARIABLE}="{quoted}"\n')
    require_database(settings)


def test_a_server_that_is_away_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"postgresql://me@127.0.0.1:{free_port()}/music"
    told = _refusal(_settings(address, tmp_path))
    assert told.startswith(f"The metadata's database at {address} is not available (Connection refused).")
    flags = ("--name", "small", f"output={tmp_path}", f"metadata.database={address}")
    capfd.readouterr()
    assert call("clean", *flags, "keep.runs=1") == 1
    assert "".join(capfd.readouterr()) == f"{told}\n"
    with pytest.raises(PipelineInputError, match=re.escape(told)):
        Lineage(_settings(address, tmp_path))


def test_a_server_that_goes_away_is_told_and_the_next_one_goes_on(
    server: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = _settings(server.address("texts"), tmp_path)
    address = settings.metadata.address
    assert address is not None
    handle = PatientMetadata(connection_of(settings))
    kind = metadata_store_pb2.ExecutionType(name="some")
    try:
        with pytest.raises(MetadataAway, match=re.escape(str(address))) as away, handle as opened:  # noqa: PT012
            server.stop()
            opened.store.put_execution_type(kind)
        assert len(str(away.value).splitlines()) == 1
        with caplog.at_level(logging.INFO, "deepmusic"), pytest.raises(MetadataAway, match="Connection refused"):
            await_server(address, patience=0.1)
        assert caplog.text.count("is away; waiting for it") == 1
    finally:
        server.start()
    with handle as opened:
        opened.store.put_execution_type(kind)


def test_several_may_be_the_first(server: PostgreSQL) -> None:
    command = [sys.executable, "-c", _OPEN, server.address("first")]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    assert [process.communicate()[0].splitlines()[-1:] for process in both] == [["0"], ["0"]]


def test_a_name_is_that_of_one_folders_runs(server: PostgreSQL, tmp_path: Path) -> None:
    address = server.address("names")
    first, second = (_settings(address, tmp_path / folder) for folder in ("first", "second"))
    require_database(first)
    assert f"{first.home}, whose artifacts are not these" in _refusal(second)
    require_database(first)
    Path(first.home).rename(tmp_path / "moved")
    Path(first.home).mkdir()
    require_database(first)
    require_database(_settings(address, tmp_path / "second", "another"))


@pytest.mark.slow
def test_runs_share_a_database(server: PostgreSQL, tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path, tracks=40)
    address = server.address("music")

    def flags(name: str) -> Sequence[str]:
        return ("--name", name, f"output={tmp_path}", "training.models=[tangent]", f"metadata.database={address}")

    def run(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        return run_local(("--data", str(data), "--labels", str(labels), *flags(name), *more))

    first, other, again = run("one"), run("two"), run("one")
    for result in (first, other, again):
        assert result.returncode == 0, result.stdout + result.stderr
    # Each name has its own cache and its own baseline.
    assert "from the cache" not in first.stdout + other.stdout
    assert re.findall(r"^([A-Z][\w-]+) +\d+\.\d s$", again.stdout, re.MULTILINE) == ["BaselineResolver"], again.stdout
    assert list(tmp_path.rglob("*.sqlite")) == []
    settings, others = (_settings(address, tmp_path, name) for name in ("one", "two"))
    (version,), (other_version,) = Lineage(settings).pushed().values(), Lineage(others).pushed().values()
    assert version.verdict.startswith(settings.artifacts)
    assert other_version.verdict.startswith(others.artifacts)
    # The second of one name leaves of its first what the third needs no more, and nothing of another's.
    assert run("one", "training.seed=1", "keep.runs=1", "keep.versions=1").returncode == 0
    cleaned = forks.run("deepmusic_genre", ["clean", *with_settings([*flags("one"), "keep.runs=1"])], 300)
    assert cleaned.returncode == 0, cleaned.stdout
    for each in (settings, others):
        store = open_server(each, each.metadata.address)  # type: ignore[arg-type]
        for artifact in artifacts_of(store, each.name):
            live = artifact.state == metadata_store_pb2.Artifact.LIVE
            assert live == Path(artifact.uri).is_dir()
            assert live or each is settings
    assert PASSWORD not in server.dump("music")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
