"""Runs one after the other on a catalogue that grows, as a schedule starts them."""

import re
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from components.trainer.record import load_training
from deepmusic_genre.exit_codes import GATE, OK
from tests.components.test_spans import add_span, spanned
from tests.conftest import artifacts, run_local

pytestmark = pytest.mark.slow


class _Scheduled(NamedTuple):
    """A home after its second run."""

    arguments: tuple[str, ...]
    home: Path
    first: str
    second: str
    first_version: str

    @property
    def versions(self) -> list[str]:
        return sorted(child.name for child in (self.home / "pushed").iterdir())

    def made(self, component: str, key: str) -> list[Path]:
        return artifacts(self.home, component, key)


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> _Scheduled:
    folder = tmp_path_factory.mktemp("scheduled")
    data, labels = spanned(folder / "spans", 1, 60)
    arguments = (
        *("--data", data, "--labels", labels, "--name", "again", f"output={folder}", "training.warm_start=true"),
        *("training.models=[c1m1]", "models.c1m1.epochs=12", "models.c1m1.batch_size=8"),
        *("keep.runs=1", "keep.versions=1"),
    )
    first = run_local(arguments)
    assert first.returncode == OK, first.stdout
    (version,) = (child.name for child in (folder / "again" / "pushed").iterdir())
    add_span(folder / "spans", 2, 60)
    second = run_local(arguments)
    assert second.returncode == OK, second.stdout
    return _Scheduled(arguments, folder / "again", first.stdout, second.stdout, version)


def test_what_is_new_alone_is_read(scheduled: _Scheduled) -> None:
    assert "1 spans, the newest 1\n" in scheduled.first
    assert "2 spans, the newest 2; 60 new, 60 taken over from earlier runs" in scheduled.second
    (examples,) = scheduled.made("TrackExampleGen", "examples")
    with sqlite3.connect(scheduled.home / "metadata.sqlite") as database:
        query = (
            "SELECT int_value FROM ArtifactProperty p JOIN Artifact a ON a.id = p.artifact_id"
            " WHERE p.name = 'span' AND a.uri = ?"
        )
        assert database.execute(query, (str(examples),)).fetchall() == [(2,)]


def test_training_starts_from_the_model_of_the_run_before(scheduled: _Scheduled) -> None:
    assert "starts cold: there is no blessed model c1m1 of these genres" in scheduled.first
    assert "starts warm, from " in scheduled.second
    # The first run's, which the baseline is as well, stays for as long as a kept run has read it.
    start, _ = scheduled.made("ModelSelector", "model")
    (run,) = scheduled.made("Trainer-c1m1", "model_run")
    assert load_training(str(run)).started_from == f"{start}/Format-Serving"
    (report,) = scheduled.made("ReportGen", "report")
    assert "The training of c1m1 began with the weights of an earlier model" in (report / "report.html").read_text()


def test_what_is_old_is_gone_at_the_end_of_a_run(scheduled: _Scheduled) -> None:
    assert "nothing to remove" in scheduled.first
    assert re.search(r"^removed \d+ artifacts, 1 pushed versions, 1 logs: \d", scheduled.second, re.MULTILINE)
    (version,) = scheduled.versions
    assert version != scheduled.first_version


def test_cache_has_what_is_kept_and_nothing_that_was_removed(scheduled: _Scheduled) -> None:
    repeated = run_local(scheduled.arguments)
    assert repeated.returncode == OK, repeated.stdout
    lines = re.findall(r"^(\S+) +\d+\.\d s(  from the cache)?$", repeated.stdout, re.MULTILINE)
    assert [name for name, cached in lines if not cached] == ["WarmStartResolver-c1m1", "BaselineResolver"]

    # The data of the first run, whose artifacts are gone; of its shards the second run has kept those of its span.
    (scheduled.home.parent / "spans" / "2").rename(scheduled.home.parent / "later")
    first = run_local(scheduled.arguments)
    assert first.returncode in (OK, GATE), first.stdout
    for component in ("TrackExampleGen", "Transform", "Trainer-c1m1"):
        assert re.search(rf"^{component} +\d+\.\d s$", first.stdout, re.MULTILINE), first.stdout
    assert "1 spans, the newest 1; 0 new, 60 taken over from earlier runs" in first.stdout
