"""Components that do not wait for each other, in forks of the runner's process."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.storage.staging import Copies
from deepmusic_genre.errors import ComponentFailed, PipelineInputError
from pipeline.run.local_runner import LocalRunner

_SECONDS = 60


@component
def Meeting(
    folder: Parameter[str], name: Parameter[str], other: Parameter[str], met: OutputArtifact[standard_artifacts.Schema]
) -> None:
    """Ends when another one has begun; raises if there is none to wait for."""
    Path(folder, name).touch()
    logging.getLogger("deepmusic.Meeting").info("%s waits for %s", name, other)
    if not other:
        raise PipelineInputError("nobody to meet")
    end = time.monotonic() + _SECONDS
    while not Path(folder, other).exists():
        if time.monotonic() > end:
            raise TimeoutError(other)
        time.sleep(0.01)
    Path(met.uri, "met").write_text(other)


@component
def Last(
    first: InputArtifact[standard_artifacts.Schema],
    second: InputArtifact[standard_artifacts.Schema],
    both: OutputArtifact[standard_artifacts.Schema],
) -> None:
    """Takes what two others have made."""
    Path(both.uri, "both").write_text(" ".join(Path(each.uri, "met").read_text() for each in (first, second)))


class Observed(logging.Handler):
    """What an observer is told, and which component says what."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.told: list[tuple[str, ...]] = []

    def started(self, component: str) -> None:
        self.told.append(("started", component))

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        assert 0 <= seconds < _SECONDS
        self.told.append(("cached" if cached else "finished", component))

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append((getattr(record, "component", ""), record.getMessage()))


@pytest.fixture
def observed() -> Iterator[Observed]:
    handler, logger = Observed(), logging.getLogger("deepmusic")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def run(folder: Path, observed: Observed, side_by_side: int = 2, second: str = "a") -> dict[str, str]:
    """Runs a pipeline of three components; what the last one wrote."""
    meeting = [
        Meeting(folder=str(folder), name=name, other=other).with_id(name) for name, other in (("a", "b"), ("b", second))
    ]
    last = Last(first=meeting[0].outputs["met"], second=meeting[1].outputs["met"])
    connection = sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    pipeline = Pipeline("three", str(folder / "root"), connection, [*meeting, last], enable_cache=True)
    outputs = LocalRunner(observed, Copies(folder / "copies"), side_by_side).run(pipeline)
    return {name: artifact.uri for name, by_key in outputs.items() for (artifact,) in by_key.values()}


def test_those_that_do_not_wait_for_each_other_run_at_the_same_time(tmp_path: Path, observed: Observed) -> None:
    made = run(tmp_path, observed)
    assert Path(made["Last"], "both").read_text() == "b a"
    assert {("a", "a waits for b"), ("b", "b waits for a"), ("finished", "a"), ("finished", "b")} <= set(observed.told)
    assert observed.told[-2:] == [("started", "Last"), ("finished", "Last")]
    observed.told.clear()
    assert run(tmp_path, observed) == made
    assert {told for told in observed.told if told[0] != "started"} == {("cached", name) for name in made}


def test_no_more_than_the_limit_run_at_a_time(tmp_path: Path, observed: Observed) -> None:
    (tmp_path / "b").touch()
    run(tmp_path, observed, side_by_side=1)
    turns = [told for told in observed.told if told[0] in {"started", "finished"}]
    assert [of for _, of in turns[::2]] == [of for _, of in turns[1::2]]


def test_when_one_fails_the_others_end_and_none_begins(tmp_path: Path, observed: Observed) -> None:
    with pytest.raises(ComponentFailed) as failed:
        run(tmp_path, observed, second="")
    assert failed.value.component == "b"
    assert str(failed.value.__cause__) == "nobody to meet"
    assert ("finished", "a") in observed.told
    assert ("started", "Last") not in observed.told
    observed.told.clear()
    run(tmp_path, observed)
    assert ("cached", "a") in observed.told
