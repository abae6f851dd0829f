"""Tests of which blessed model a candidate is compared with."""

from pathlib import Path

import pytest
from tfx.types import Artifact, standard_artifacts

from components.baseline_resolver.strategy import BaselineModelStrategy
from components.trainer.description import ModelDescription, load_description
from tests.tracks import GENRES

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
