"""Copies of what is on S3: whole or not at all, on both sides."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Artifact, standard_artifacts

from components.pusher.folder import Place, place, places
from components.schema_import.component import SchemaImport
from components.storage.checksums import checksums
from components.storage.files import fileio
from components.storage.staging import Copies, Staging, at_hand
from deepmusic_genre.errors import ComponentFailed
from pipeline.metadata.leftovers import remove_leftovers
from pipeline.run.local_runner import LocalRunner
from pipeline.settings import load_settings
from tests.components.test_pusher import FILES, push
from tests.support.s3_server import BUCKET, Store, s3_server


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with s3_server() as served:
        yield served


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "copies")


def write(copies: Copies, uri: str) -> Path:
    """A folder of two files and an empty one, as a component would write it."""
    folder = Path(copies.local(uri))
    (folder / "more" / "empty").mkdir(parents=True)
    (folder / "a").write_bytes(b"first")
    (folder / "more" / "b.gz").write_bytes(bytes(11 << 20))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_places_of_a_store_have_one_here_and_others_stay() -> None:
    staging = Staging({"s3://": "/s3/", "minio://": "/minio/"})
    assert staging.local("minio://bucket/run/1") == "/minio/bucket/run/1"
    for uri in ("s3://bucket/run/1", "gs://bucket/run/1", "/music/run/1"):
        assert staging.remote(staging.local(uri)) == uri
    assert staging.local("gs://bucket/run/1") == "gs://bucket/run/1"


def test_what_components_can_open_is_not_copied(copies: Copies) -> None:
    for known in ("gs://bucket/run/1", "/music/run/1"):
        assert copies.fetch(known, {}) == known
        copies.publish(known)
        with at_hand(known, "/nowhere") as here:
            assert here == known


def test_what_was_published_comes_back(store: Store, copies: Copies) -> None:
    uri = f"{BUCKET}/back/1"
    folder = write(copies, uri)
    written, noted = files(folder), checksums(str(folder))
    copies.publish(str(folder))
    assert store.names("back/") == ["back/1/a", "back/1/more/b.gz"]
    assert copies.fetch(uri, noted) == str(folder)
    copies.clear()
    assert not folder.exists()
    assert files(Path(copies.fetch(uri, noted))) == written
    with at_hand(uri, str(folder.parent)) as here:
        assert files(Path(here)) == written
    assert not Path(here).exists()


def test_an_empty_folder_is_there_afterwards(store: Store, copies: Copies) -> None:
    uri = f"{BUCKET}/none/at/all"
    Path(copies.local(uri)).mkdir(parents=True)
    copies.publish(copies.local(uri))
    assert fileio.exists(uri)
    copies.clear()
    assert files(Path(copies.fetch(uri, {}))) == {}


def test_what_comes_there_by_half_is_removed(store: Store, copies: Copies) -> None:
    folder = write(copies, f"{BUCKET}/half/1")
    with store.refusing("s3:PutObject", "half/1/more/*"), pytest.raises(OSError, match="ACCESS_DENIED"):
        copies.publish(str(folder))
    assert store.names("half/") == []
    assert not fileio.exists(f"{BUCKET}/half/1")
    copies.publish(str(folder))
    assert len(store.names("half/")) == 2


def test_what_comes_here_by_half_is_removed(store: Store, copies: Copies) -> None:
    uri = f"{BUCKET}/read/1"
    copies.publish(str(write(copies, uri)))
    copies.clear()
    with store.refusing("s3:GetObject", "read/1/more/*"), pytest.raises(OSError, match="ACCESS_DENIED"):
        copies.fetch(uri, {})
    assert not any(path.is_file() for path in Path(copies.local(uri)).parent.rglob("*"))
    assert len(files(Path(copies.fetch(uri, {})))) == 2


def test_a_file_that_has_changed_in_the_store_is_not_taken(store: Store, copies: Copies) -> None:
    uri = f"{BUCKET}/changed/1"
    folder = write(copies, uri)
    noted = checksums(str(folder))
    copies.publish(str(folder))
    copies.clear()
    store.put("changed/1/a", b"other")
    with pytest.raises(OSError, match=rf"{uri} is damaged, a has changed"):
        copies.fetch(uri, noted)
    assert not folder.exists()


def test_a_bucket_that_is_not_there_is_named(store: Store, copies: Copies) -> None:
    uri = "s3://no-such-bucket/run/1"
    with pytest.raises(OSError, match="no-such-bucket"):
        copies.publish(str(write(copies, uri)))
    copies.clear()
    with pytest.raises(OSError, match="no-such-bucket"):
        copies.fetch(uri, {})


class _Observed(dict[str, bool]):
    """Which components ended well, and whether by the cache."""

    def started(self, component: str) -> None:
        pass

    def finished(self, component: str, seconds: float, cached: bool) -> None:  # noqa: ARG002 - the runner's.
        self[component] = cached


@component
def SchemaCopy(
    schema: InputArtifact[standard_artifacts.Schema],
    copied: OutputArtifact[standard_artifacts.Schema],
) -> None:
    """Copies a schema by TensorFlow's own client, and notes where it was."""
    tf.io.gfile.copy(f"{schema.uri}/schema.pbtxt", f"{copied.uri}/copy.pbtxt")
    copied.set_string_custom_property("of", schema.uri)


def run_two(folder: Path, root: str) -> tuple[dict[str, Artifact], dict[str, bool]]:
    """Runs a pipeline of two components; the output of each, and whether it came from the cache."""
    connection = sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    remove_leftovers(root, connection, "two")
    imported = SchemaImport(schema_file=load_settings().schema_file)
    copied = SchemaCopy(schema=imported.outputs["schema"])
    pipeline = Pipeline("two", root, connection, [imported, copied], enable_cache=True)
    observed = _Observed()
    outputs = LocalRunner(observed, Copies(folder / "copies")).run(pipeline)
    return {name: artifact for name, by_key in outputs.items() for (artifact,) in by_key.values()}, observed


def test_a_run_works_on_copies_and_leaves_none_behind(store: Store, tmp_path: Path) -> None:
    made, cached = run_two(tmp_path, f"{BUCKET}/runs")
    assert cached == {"SchemaImport": False, "SchemaCopy": False}
    imported, copied = made["SchemaImport"].uri, made["SchemaCopy"].uri
    assert [f"{BUCKET}/{name}" for name in store.names("runs/")] == [f"{copied}/copy.pbtxt", f"{imported}/schema.pbtxt"]
    assert made["SchemaCopy"].get_string_custom_property("of") == imported
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.sqlite"]
    made_again, cached = run_two(tmp_path, f"{BUCKET}/runs")
    assert cached == {"SchemaImport": True, "SchemaCopy": True}
    assert made_again["SchemaCopy"].uri == copied


def test_a_run_that_may_not_write_leaves_nothing_and_the_next_goes_on(store: Store, tmp_path: Path) -> None:
    with store.refusing("s3:PutObject", "refused/*/copy.pbtxt"), pytest.raises(ComponentFailed) as failed:
        run_two(tmp_path, f"{BUCKET}/refused")
    assert failed.value.component == "SchemaCopy"
    assert "ACCESS_DENIED" in str(failed.value.__cause__)
    assert [name.rpartition("/")[2] for name in store.names("refused/")] == ["schema.pbtxt"]
    assert run_two(tmp_path, f"{BUCKET}/refused")[1] == {"SchemaImport": True, "SchemaCopy": False}


def test_a_store_that_is_away_is_told_with_the_component(store: Store, tmp_path: Path) -> None:
    with store.refusing("s3:*", "away/*"), pytest.raises(ComponentFailed) as failed:
        run_two(tmp_path, f"{BUCKET}/away")
    assert failed.value.component == "SchemaImport"
    told = re.search(r"'(away/.+/schema/1)'.*ACCESS_DENIED", str(failed.value.__cause__))
    assert told
    # As a run that is killed leaves it.
    store.put(f"{told[1]}/half", b"x")
    assert run_two(tmp_path, f"{BUCKET}/away")[1] == {"SchemaImport": False, "SchemaCopy": False}
    assert store.names(f"{told[1]}/") == []


def test_what_is_damaged_in_the_store_is_made_again(store: Store, tmp_path: Path) -> None:
    root = f"{BUCKET}/damaged"
    run_two(tmp_path, root)
    copy, schema = store.names("damaged/")
    store.put(copy, b"of another size")
    assert run_two(tmp_path, root)[1] == {"SchemaImport": True, "SchemaCopy": False}
    for name in store.names("damaged/"):
        store.put(name, bytes(len(store.get(name))) if name == schema else b"")
    with pytest.raises(ComponentFailed) as failed:
        run_two(tmp_path, root)
    assert f"{BUCKET}/{schema.rpartition('/')[0]} is damaged" in str(failed.value.__cause__)
    assert run_two(tmp_path, root)[1] == {"SchemaImport": False, "SchemaCopy": False}


def test_a_push_that_was_stopped_is_no_version_and_the_next_one_is(store: Store, tmp_path: Path) -> None:
    uri, live, next_one = f"{BUCKET}/served", 9_999_999_999, 10_000_000_000
    for file in FILES:
        store.put(f"served/{live}/{file}", b"x")
    with (
        store.refusing("s3:PutObject", f"served/{next_one}/saved_model.pb"),
        pytest.raises(OSError, match="ACCESS_DENIED"),
    ):
        push(tmp_path, uri)
    assert places(uri) == {live: Place.LIVE, next_one: Place.INCOMPLETE}
    push(tmp_path, uri)
    assert place(uri, next_one + 1) is Place.LIVE
    assert place(uri, next_one) is Place.INCOMPLETE
