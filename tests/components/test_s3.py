"""Data and answers on S3: a real server on the loopback, from PyPI."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.storage import s3
from components.storage.files import fileio
from components.storage.places import read
from components.track_example_gen.catalogue import list_analyses
from deepmusic_genre.errors import PipelineInputError
from pipeline.checks.beam_worker import Answer, Question, answer, own_versions
from pipeline.checks.storage import require_storage
from pipeline.pushed import pushed_version
from serving.batch.folder import Job
from serving.batch.model import identify
from serving.batch.run import tag
from tests.conftest import FinishedRun, free_port, run_local
from tests.support.ingestion import IN_PROCESS, execute
from tests.support.s3_server import BUCKET, Store, s3_server
from tests.support.tracks import write_catalogue, write_h5


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with s3_server() as served:
        yield served


def test_a_catalogue_on_s3_gives_the_examples_of_a_folder(store: Store, tmp_path: Path) -> None:
    data, labels = write_catalogue(tmp_path / "here", tracks=24)
    moved, deep = min(data.iterdir()), data / "more" / "deep"
    deep.mkdir(parents=True)
    moved.rename(deep / moved.name)
    write_h5(data / "more" / "song.h5", ["TRAAAAW128F429D538"])
    (data / "broken.json").write_text('{"meta": ')
    there = store.put_folder(data, "music")
    store.put_folder(labels.parent, "labels")
    assert [path.removeprefix(there) for path in list_analyses(there).files] == [
        path.removeprefix(str(data)) for path in list_analyses(str(data)).files
    ]
    local = execute(tmp_path / "local", data, labels, max_rejected_share=0.5)
    remote = execute(tmp_path / "remote", there, f"{BUCKET}/labels/{labels.name}", max_rejected_share=0.5)
    assert remote.examples == local.examples
    assert remote.count >= 24
    assert [each["reason"] for each in remote.rejections] == [each["reason"] for each in local.rejections]
    assert len(remote.rejections) == 1


@pytest.mark.slow
def test_the_command_line_reads_s3(store: Store, tmp_path: Path) -> None:
    data, _ = write_catalogue(tmp_path / "here", tracks=4)
    there = store.put_folder(data, "run/music")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "strangers.csv").write_text("track_id,genre\nsomebody,Rock\n")
    store.put_folder(tmp_path / "other", "run")
    result = run_local(("--data", there, "--labels", f"{BUCKET}/run/strangers.csv", f"output={tmp_path / 'output'}"))
    assert result.returncode == 1
    assert "None of the 4 tracks has a genre" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_answers_on_s3_are_those_of_a_folder(store: Store, finished_run: FinishedRun, tmp_path: Path) -> None:
    there = store.put_folder(finished_run.data, "tagged/music")
    model = pushed_version(str(finished_run.home / "pushed"), None)
    here, out = str(tmp_path / "answers"), f"{BUCKET}/tagged/answers"
    assert tag(Job(there, identify(model)), model, out, IN_PROCESS, lambda _: None).tagged == 60
    assert tag(Job(there, identify(model)), model, out, IN_PROCESS, lambda _: None).tagged == 0
    tag(Job(str(finished_run.data), identify(model)), model, here, IN_PROCESS, lambda _: None)
    answers, expected = (pd.read_csv(BytesIO(read(f"{folder}/predictions.csv"))) for folder in (out, here))
    assert answers.pop("file").str.removeprefix(there).tolist() == [
        path.removeprefix(str(finished_run.data)) for path in expected.pop("file")
    ]
    pd.testing.assert_frame_equal(answers, expected, check_exact=True)
    parquet = pq.read_table(pa.BufferReader(read(f"{out}/predictions.parquet")))
    assert parquet["track_id"].to_pylist() == expected["track_id"].tolist()
    assert read(f"{out}/rejections.jsonl") == b""
    with pytest.raises(PipelineInputError, match=r"is inside of s3://"):
        tag(Job(there, identify(model)), model, f"{there}/answers", IN_PROCESS, lambda _: None)


def test_a_place_that_is_not_there_is_named(store: Store) -> None:
    for place in (f"{BUCKET}/nowhere", "s3://no-such-bucket/music"):
        with pytest.raises(PipelineInputError, match=rf"The data folder {place} is not there"):
            list_analyses(place)
    with pytest.raises(OSError, match="no file"):
        fileio.stat(f"{BUCKET}/nowhere")
    with pytest.raises(OSError, match="no-such-bucket"):
        fileio.open("s3://no-such-bucket/x", "wb")


def test_a_key_with_an_empty_part_is_left_out_and_cannot_be_named(store: Store) -> None:
    for key in ("odd/a.json", "odd/sub//b.json", "odd/sub/c.json", "odd/"):
        store.put(key, b"{}")
    assert list_analyses(f"{BUCKET}/odd").files == [f"{BUCKET}/odd/a.json", f"{BUCKET}/odd/sub/c.json"]
    for place in (f"{BUCKET}/odd//sub", "s3:///deepmusic/odd"):
        with pytest.raises(PipelineInputError, match=rf"{place} cannot be looked for: .* a part of it is empty"):
            list_analyses(place)


def test_a_service_that_does_not_answer_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    s3.client.cache_clear()
    try:
        with pytest.raises(
            PipelineInputError, match=r"The data folder s3://deepmusic/music cannot be looked for: .*HeadO"
        ):
            list_analyses(f"{BUCKET}/music")
    finally:
        s3.client.cache_clear()


def test_a_worker_answers_there(store: Store) -> None:
    answer(Question(f"{BUCKET}/answer", (f"{BUCKET}/music",)))
    assert msgspec.json.decode(read(f"{BUCKET}/answer"), type=Answer) == Answer(own_versions())


def test_a_place_for_artifacts_is_tried_out(store: Store) -> None:
    require_storage(f"{BUCKET}/runs", [])
    assert store.names("runs/") == []
    for action in ("s3:PutObject", "s3:GetObject", "s3:DeleteObject"):
        with (
            store.refusing(action, "runs/*"),
            pytest.raises(PipelineInputError, match=rf"{BUCKET}/runs cannot be written to.*ACCESS_DENIED"),
        ):
            require_storage(f"{BUCKET}/runs", [])


def test_a_file_is_renamed_and_is_not_written_over_unasked(store: Store) -> None:
    for name in ("a", "b"):
        with fileio.open(f"{BUCKET}/names/{name}", "wb") as file:
            file.write(name.encode())
    with pytest.raises(FileExistsError):
        fileio.rename(f"{BUCKET}/names/a", f"{BUCKET}/names/b")
    fileio.rename(f"{BUCKET}/names/a", f"{BUCKET}/names/b", overwrite=True)
    assert fileio.listdir(f"{BUCKET}/names") == ["b"]
    assert read(f"{BUCKET}/names/b") == b"a"
