"""What a run takes as given is true: its folders, its cache, its environment."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from components.artifacts import CHECKSUMS_PROPERTY
from components.storage.checksums import damage
from deepmusic_genre.exit_codes import FAULT, GATE, OK
from pipeline.metadata.store import PatientMetadata
from tests.conftest import ROOT, FinishedRun, artifacts, run_local
from tests.support.command import command
from tests.support.tracks import write_catalogue

pytestmark = pytest.mark.slow

CAME_TO_ITS_END = (OK, GATE)


class Runs:
    """Runs of one pipeline on catalogues of different sizes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "output" / "mine"
        self.metadata = self.home / "metadata.sqlite"

    def arguments(self, tracks: int) -> list[str]:
        folder = self.folder / str(tracks)
        if not folder.exists():
            write_catalogue(folder, tracks)
        where = ("--data", str(folder / "tracks"), "--labels", str(folder / "labels.csv"), "--name", "mine")
        return [*where, f"output={self.folder / 'output'}", "training.models=[tangent]"]

    def run(self, tracks: int, codes: Sequence[int] = CAME_TO_ITS_END) -> str:
        result = run_local(self.arguments(tracks))
        assert result.returncode in codes, result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr
        return result.stdout

    def trained_on(self, shown: str) -> tuple[int, int]:
        """How many training tracks the examples have by their report, and how many the kernel has."""
        examples, kernel = (re.search(pattern, shown) for pattern in (r"tracks: (\d+) train", r"of all (\d+) training"))
        assert examples is not None, shown
        assert kernel is not None, shown
        return int(examples[1]), int(kernel[1])


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_old_tracks_do_not_come_back_with_restored_or_lost_metadata(runs: Runs) -> None:
    runs.run(30)
    backup = runs.metadata.read_bytes()
    many, _ = runs.trained_on(runs.run(80))
    runs.metadata.write_bytes(backup)
    first = runs.run(40)
    assert len(set(runs.trained_on(first))) == 1
    assert runs.trained_on(first)[0] < many
    runs.metadata.unlink()
    second = runs.run(50)
    assert len(set(runs.trained_on(second))) == 1
    for folder in runs.home.glob("artifacts/*/TrackExampleGen/examples/*/Split-train"):
        assert len(list(folder.iterdir())) == 1


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def test_a_flipped_byte_is_told_and_made_again(runs: Runs) -> None:
    runs.run(40)
    kinds = {("Predictor", "predictions"): "tangent.parquet", ("TrackExampleGen", "examples"): "Split-train/*"}
    for (component, key), pattern in kinds.items():
        (file,) = artifacts(runs.home, component, key)[-1].glob(pattern)
        _flip(file)
        shown = runs.run(40)
        assert f"  {key}: {artifacts(runs.home, component, key)[0]} is damaged, " in shown
        assert f"{file.name} has changed; it is made again\n" in shown
        assert re.search(rf"^{component} +\d+\.\d s$", shown, re.MULTILINE), shown
    assert "damaged" not in runs.run(40)


@pytest.mark.parametrize(
    ("component", "key", "pattern"),
    [
        ("TrackExampleGen", "examples", "Split-train/*"),
        ("StatisticsGen", "statistics", "Split-train/FeatureStats.pb"),
        ("Transform", "transform_graph", "transform_fn/saved_model.pb"),
        ("Trainer-tangent", "model", "Format-Serving/variables/variables.data-*"),
        ("Predictor", "predictions", "tangent.parquet"),
    ],
)
def test_every_kind_of_artifact_carries_checksums(
    component: str, key: str, pattern: str, finished_run: FinishedRun, tmp_path: Path
) -> None:
    folder = finished_run.artifact(component, key)
    connection = sqlite_metadata_connection_config(str(finished_run.home / "metadata.sqlite"))
    with PatientMetadata(connection) as handle:
        (noted,) = (each for each in handle.store.get_artifacts() if each.uri == str(folder))
    expected = json.loads(noted.custom_properties[CHECKSUMS_PROPERTY].string_value)
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert damage(str(copy), expected) is None
    (file,) = copy.glob(pattern)
    _flip(file)
    name = file.relative_to(copy)
    assert damage(str(copy), expected) == f"{name} has changed"
    file.unlink()
    assert damage(str(copy), expected) == f"{name} is missing"


def test_a_removed_or_damaged_version_is_pushed_again(runs: Runs) -> None:
    runs.run(80, [OK])
    (version,) = (runs.home / "pushed").iterdir()
    shutil.rmtree(version)
    shown = runs.run(80, [OK])
    assert f"{version} was removed; it is made again" in shown
    (again,) = (runs.home / "pushed").iterdir()
    assert f"Pushed to {again}" in shown
    _flip(again / "variables" / "variables.index")
    shown = runs.run(80, [OK])
    assert f"{again} is damaged, variables/variables.index has changed" in shown
    assert max((runs.home / "pushed").iterdir()) != again


def test_damaged_metadata_are_a_line_that_says_what_is_lost(runs: Runs) -> None:
    runs.home.mkdir(parents=True)
    with sqlite3.connect(runs.metadata) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 100,) for _ in range(2000)])
    content = bytearray(runs.metadata.read_bytes())
    content[8192:20000] = b"\xff" * (20000 - 8192)
    for damaged in (bytes(content), b"no database at all" * 100):
        runs.metadata.write_bytes(damaged)
        shown = runs.run(30, [FAULT])
        assert f"The metadata of runs in {runs.metadata} are damaged" in shown
        assert f"mv '{runs.metadata}' '{runs.metadata}.damaged'" in shown


def test_settings_of_other_projects_do_not_count(runs: Runs) -> None:
    home, foreign, temporary = (runs.folder / name for name in ("home", "foreign", "temporary"))
    for folder in (home / ".keras", foreign / "numpy", temporary):
        folder.mkdir(parents=True)
    keras = {"image_data_format": "channels_first", "backend": "jax", "floatx": "float16", "epsilon": 0.1}
    (home / ".keras" / "keras.json").write_text(json.dumps(keras))
    (foreign / "numpy" / "__init__.py").write_text("raise ImportError('another NumPy')")
    environment = {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": str(foreign),
        "PYTHONOPTIMIZE": "2",
        "KERAS_BACKEND": "jax",
        "TMPDIR": str(temporary),
    }
    training = ("training.models=[c1m1]", "models.c1m1.epochs=1")
    running = command("run", *runs.arguments(40), *training)
    shown = subprocess.run(running, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode in CAME_TO_ITS_END, shown.stdout + shown.stderr
    assert "297,528 parameters" in shown.stdout
    assert not list(temporary.iterdir())
    assert [child.name for child in (home / ".keras").iterdir()] == ["keras.json"]
