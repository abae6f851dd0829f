"""``make versions``, ``make rollback`` and ``make drift`` on a real run's metadata."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.pusher.folder import WITHDRAWN
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.examples import encode_segments
from deepmusic_genre.tracks.track import SEGMENT_FEATURES
from pipeline.metadata.leftovers import only_run
from pipeline.metadata.lineage import Lineage
from pipeline.settings import load_settings
from tests.conftest import ROOT, FinishedRun, without_rights
from tests.support.command import call, command


@dataclass(frozen=True)
class Home:
    """A copy of a run's pushed versions and metadata."""

    folder: Path
    version: int

    @property
    def pushed(self) -> Path:
        return self.folder / "pushed"

    @property
    def flags(self) -> list[str]:
        return ["--settings", str(self.folder.parent / "settings.yaml"), "--name", self.folder.name]

    def copy(self, version: int) -> None:
        shutil.copytree(self.pushed / str(self.version), self.pushed / str(version))


@pytest.fixture
def home(finished_run: FinishedRun, tmp_path: Path) -> Home:
    folder = tmp_path / finished_run.home.name
    shutil.copytree(finished_run.home / "pushed", folder / "pushed")
    shutil.copy(finished_run.home / "metadata.sqlite", folder)
    (tmp_path / "settings.yaml").write_text(f"output: {tmp_path}\n")
    (version,) = (int(child.name) for child in (folder / "pushed").iterdir())
    return Home(folder, version)


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: "".join(capsys.readouterr())


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in cells}


def test_a_version_that_did_not_come_whole_is_listed_as_incomplete(home: Home, said: Said) -> None:
    half = home.version + 1
    (home.pushed / str(half) / "variables").mkdir(parents=True)
    assert call("versions", *home.flags) == 0
    assert {version: row[-1] for version, row in rows(said()).items()} == {
        str(half): "incomplete",
        str(home.version): "live",
    }
    assert call("rollback", *home.flags, "--version", str(home.version)) == 0
    assert said() == f"Version {home.version} is live already.\n"


def test_versions_are_listed_with_scores_and_taken_back(finished_run: FinishedRun, home: Home, said: Said) -> None:
    newer = home.version + 1
    home.copy(newer)
    assert call("versions", *home.flags) == 0
    listed = rows(said())
    scores = re.search(r"^accuracy (\S+) .*, macro F1 (\S+)$", finished_run.stdout, re.MULTILINE)
    assert scores
    when, model, *values, verdict, state = listed[str(home.version)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", when)
    assert (model in ("c1m1", "tangent"), values) == (True, list(scores.groups()))
    assert re.fullmatch(r"(\d+) of \1 checks passed", verdict)
    assert state == "kept"
    assert listed[str(newer)] == ["-"] * 5 + ["live"]

    assert call("rollback", *home.flags, "--version", str(home.version)) == 0
    assert said() == f"Version {home.version} is live; withdrawn: {newer}\n"
    assert call("versions", *home.flags) == 0
    assert [row[-1] for row in rows(said()).values()] == ["withdrawn", "live"]
    assert call("rollback", *home.flags, "--version", str(home.version)) == 0
    assert said() == f"Version {home.version} is live already.\n"
    assert call("rollback", *home.flags, "--version", str(newer)) == 0
    assert said() == f"Version {newer} is live\n"
    shutil.rmtree(home.pushed / str(home.version))
    assert call("versions", *home.flags) == 0
    assert rows(said())[str(home.version)][-1] == "removed"


def test_what_cannot_be_done_is_a_line(home: Home, said: Said) -> None:
    home.copy(home.version + 1)
    for version, words in (("5", "There is no version 5 in "), ("x", "'x' is not a version"), ("", "'' is not")):
        assert call("rollback", *home.flags, "--version", version) == 1
        told = said()
        assert (words in told, len(told.splitlines())) == (True, 1), told
    with only_run(home.folder):
        assert call("rollback", *home.flags, "--version", str(home.version)) == 1
        assert said() == f"A run is going on in {home.folder}: wait for it to end.\n"
    (home.folder / "metadata.sqlite").unlink()
    assert call("versions", *home.flags) == 1
    assert said().startswith("There are no metadata of runs: ")
    (home.folder / "metadata.sqlite").write_text("no database")
    assert call("versions", *home.flags) == 1
    told = said()
    assert (told.startswith("The metadata of runs in "), len(told.splitlines())) == (True, 1), told


def test_without_the_permission_nothing_is_moved(home: Home, said: Said) -> None:
    home.copy(home.version + 1)
    (home.folder / "lock").touch(0o666)
    with without_rights(home.folder):
        home.pushed.chmod(0o555)
        assert call("rollback", *home.flags, "--version", str(home.version)) == 1
        assert said() == f"Versions in {home.pushed} cannot be moved: Permission denied.\n"
        (home.folder / "lock").chmod(0o444)
        assert call("rollback", *home.flags, "--version", str(home.version)) == 1
        assert said() == f"Nothing can be written to {home.folder}: Permission denied.\n"
    assert (home.pushed / str(home.version + 1)).exists()
    assert not (home.pushed / WITHDRAWN).exists()


def test_the_statistics_are_those_of_the_training_split(finished_run: FinishedRun, home: Home) -> None:
    lineage = Lineage(load_settings(texts={"name": home.folder.name, "output": str(home.folder.parent)}))
    (version,) = lineage.pushed().values()
    statistics = finished_run.artifact("StatisticsGen", "statistics") / "Split-train" / "FeatureStats.pb"
    assert lineage.training_statistics(version) == str(statistics)
    kept = statistics.rename(statistics.with_name("away"))
    try:
        with pytest.raises(PipelineInputError, match="are not there any more"):
            lineage.training_statistics(version)
    finally:
        kept.rename(statistics)


def drift(home: Home, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("drift", *home.flags, *flags), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def write_log(finished_run: FinishedRun, folder: Path, factor: float, tracks: int) -> None:
    """Tracks of all splits, which are too few of one; clients may send features of any name and type as well."""
    files = [str(file) for file in finished_run.artifact("TrackExampleGen", "examples").glob("Split-*/*")]
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "m.tfrecord")) as writer:
        for number, record in enumerate(tf.data.TFRecordDataset(files).take(tracks).as_numpy_iterator()):
            features = tf.train.Example.FromString(record).features.feature
            segments = np.array([features[name].float_list.value for name in SEGMENT_FEATURES], np.float32).T
            scaled = segments * np.repeat([np.float32(factor), np.float32(1)], 12)
            example = tf.train.Example.FromString(encode_segments(scaled))
            kind = ("int64_list", 1) if number % 2 else ("bytes_list", b"x")
            getattr(example.features.feature["anything"], kind[0]).value.append(kind[1])
            writer.write(example.SerializeToString())


@pytest.mark.slow
def test_drift_is_told_from_none(finished_run: FinishedRun, home: Home, tmp_path: Path) -> None:
    write_log(finished_run, tmp_path / "same", 1, 60)
    result = drift(home, "--log", str(tmp_path / "same"))
    assert (result.returncode, result.stderr) == (0, ""), result
    distances = [float(row[0]) for name, row in rows(result.stdout).items() if name in SEGMENT_FEATURES]
    assert len(distances) == len(SEGMENT_FEATURES)
    assert distances == sorted(distances, reverse=True)
    assert result.stdout.endswith("no drift (threshold 0.2)\n")
    write_log(finished_run, tmp_path / "other", 5, 60)
    result = drift(home, "--log", str(tmp_path / "other"), "--threshold", "0.3")
    assert result.returncode == 3, result
    assert re.search(r"^drift: timbre_\d\d.* \(threshold 0\.3\)$", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_where_drift_cannot_be_told_a_line_says_why(finished_run: FinishedRun, home: Home, tmp_path: Path) -> None:
    write_log(finished_run, tmp_path / "few", 1, 10)
    (tmp_path / "broken").mkdir()
    content = (tmp_path / "few" / "m.tfrecord").read_bytes()
    (tmp_path / "broken" / "m.tfrecord").write_bytes(content[: len(content) // 2])
    cases = [
        (["--log", str(tmp_path / "none")], "No served tracks in "),
        (["--log", str(tmp_path / "few")], "10 served tracks in "),
        (["--log", str(tmp_path / "broken")], "The log of served tracks cannot be read: "),
        (["--log", str(tmp_path), "--version", "5"], "No run pushed version 5 to "),
    ]
    for flags, words in cases:
        result = drift(home, *flags)
        assert (result.returncode, words in result.stderr, len(result.stderr.splitlines())) == (1, True, 1), result
