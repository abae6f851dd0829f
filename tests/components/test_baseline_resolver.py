"""Tests of which blessed model a candidate is compared with."""

from pathlib import Path

import pytest
from tfx.types import Artifact, standard_artifacts

from components.baseline_resolver.executor import Executor, find_baseline
from components.baseline_resolver.strategy import BaselineModelStrategy
from components.trainer.description import ModelDescription, enclose_evaluated, has_description, load_description
from tests.support.tracks import GENRES

pytestmark = pytest.mark.fast

CANDIDATE = ModelDescription("c1m1", list(GENRES))


def _model(folder: Path, number: int, description: ModelDescription) -> Artifact:
    model = standard_artifacts.Model()
    model.uri, model.id = str(folder / str(number)), number
    description.save(f"{model.uri}/Format-Serving", [])
    return model


def _blessing(model: Artifact) -> Artifact:
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
    return blessing


@pytest.mark.parametrize(
    ("other", "comparable"),
    [
        (ModelDescription("tangent", list(GENRES)), True),
        (ModelDescription("c1m1", list(GENRES[:3])), False),
        (ModelDescription("c1m1", list(GENRES), ("deepmusic-1",)), False),
        (ModelDescription("c1m1", list(GENRES), ("deepmusic-1", "echo_nest")), False),
    ],
    ids=["another model", "other genres", "another analyser", "mixed analysers"],
)
def test_baseline_has_the_same_genres_and_analysers(tmp_path: Path, other: ModelDescription, comparable: bool) -> None:
    candidate, earlier = _model(tmp_path, 2, CANDIDATE), _model(tmp_path, 1, other)
    given = {"candidate": [candidate], "model": [candidate, earlier], "model_blessing": [_blessing(earlier)]}
    resolved = BaselineModelStrategy().resolve_artifacts(None, given)
    assert [model.id for model in (resolved or {}).get("model", [])] == ([1] if comparable else [])


def test_model_that_names_no_analyser_is_echo_nests(tmp_path: Path) -> None:
    model = _model(tmp_path, 1, CANDIDATE)
    file = Path(model.uri, "Format-Serving", "assets.extra", "description.json")
    file.write_text('{"name": "c1m1", "genres": ["Jazz", "Rock"]}')
    assert load_description(model).analysers == ("echo_nest",)


# Without ML Metadata


def _push(folder: Path, version: str, description: ModelDescription, weights: str) -> None:
    description.save(str(folder / version), [])
    (folder / version / "variables").mkdir()
    (folder / version / "variables" / "variables.data-00000-of-00001").write_text(weights)
    (folder / version / "saved_model.pb").touch()


@pytest.mark.parametrize(
    ("pushed", "baseline"),
    [
        ({}, None),
        ({"9": CANDIDATE, "10": CANDIDATE}, "10"),
        ({"1": CANDIDATE, "2": ModelDescription("c1m1", list(GENRES[:3]))}, "1"),
        ({"1": ModelDescription("tangent", list(GENRES)), "incoming": CANDIDATE, "withdrawn": CANDIDATE}, "1"),
        ({"1": ModelDescription("c1m1", list(GENRES), ("deepmusic-1",))}, None),
    ],
    ids=["none", "the latest", "other genres", "versions only", "another analyser"],
)
def test_the_latest_comparable_version_is_the_baseline(
    tmp_path: Path, pushed: dict[str, ModelDescription], baseline: str | None
) -> None:
    _push(tmp_path, "candidate/Format-Serving", CANDIDATE, "new")
    for version, description in pushed.items():
        _push(tmp_path / "pushed", version, description, f"of {version}")
    found = find_baseline(str(tmp_path / "candidate/Format-Serving"), str(tmp_path / "pushed"))
    assert found == (baseline and str(tmp_path / "pushed" / baseline))


def test_a_version_of_the_candidates_weights_is_passed_over(tmp_path: Path) -> None:
    _push(tmp_path, "candidate/Format-Serving", CANDIDATE, "equal")
    for version, weights in (("1", "other"), ("2", "equal")):
        _push(tmp_path / "pushed", version, CANDIDATE, weights)
    candidate, output = standard_artifacts.Model(), standard_artifacts.Model()
    candidate.uri, output.uri = str(tmp_path / "candidate"), str(tmp_path / "baseline")
    Executor().Do({"candidate": [candidate]}, {"model": [output]}, {"push_folder": str(tmp_path / "pushed")})
    copied = Path(output.uri) / "Format-Serving" / "variables" / "variables.data-00000-of-00001"
    assert copied.read_text() == "other"


def test_a_version_is_compared_by_the_model_that_was_evaluated(tmp_path: Path) -> None:
    _push(tmp_path, "candidate/Format-Serving", CANDIDATE, "new")
    _push(tmp_path, "evaluated", CANDIDATE, "evaluated")
    _push(tmp_path / "pushed", "1", CANDIDATE, "learned from all")
    enclose_evaluated(str(tmp_path / "evaluated"), str(tmp_path / "pushed" / "1"))
    candidate, output = standard_artifacts.Model(), standard_artifacts.Model()
    candidate.uri, output.uri = str(tmp_path / "candidate"), str(tmp_path / "baseline")
    Executor().Do({"candidate": [candidate]}, {"model": [output]}, {"push_folder": str(tmp_path / "pushed")})
    copied = Path(output.uri) / "Format-Serving" / "variables" / "variables.data-00000-of-00001"
    assert copied.read_text() == "evaluated"
    # Where a run is repeated, its candidate is the one that the version holds.
    assert find_baseline(str(tmp_path / "evaluated"), str(tmp_path / "pushed")) is None


def test_a_version_that_is_not_whole_is_passed_over(tmp_path: Path) -> None:
    for version in ("candidate/Format-Serving", "pushed/1"):
        _push(tmp_path, version, CANDIDATE, version)
    # As a push that was stopped on an object store leaves it.
    CANDIDATE.save(str(tmp_path / "pushed" / "2"), [])
    found = find_baseline(str(tmp_path / "candidate/Format-Serving"), str(tmp_path / "pushed"))
    assert found == str(tmp_path / "pushed" / "1")


def test_no_version_leaves_an_artifact_that_is_no_model(tmp_path: Path) -> None:
    _push(tmp_path, "candidate/Format-Serving", CANDIDATE, "new")
    candidate, output = standard_artifacts.Model(), standard_artifacts.Model()
    candidate.uri, output.uri = str(tmp_path / "candidate"), str(tmp_path / "baseline")
    Executor().Do({"candidate": [candidate]}, {"model": [output]}, {"push_folder": str(tmp_path / "pushed")})
    assert not has_description(output)
