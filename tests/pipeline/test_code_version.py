"""Tests of what a step's cache key covers besides its inputs and settings."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode

from components.artifacts import MADE_WITH_PROPERTY
from pipeline import code_version as module
from pipeline.code_version import ROOT, code_version, files_of, modules_named_by, modules_used_by
from pipeline.create_pipeline import create_pipeline
from pipeline.settings import load_settings

pytestmark = pytest.mark.fast

OF_TFX = {"StatisticsGen", "ExampleValidator"}
"""Steps that run none of the project's code."""

ASKED = [
    "data.path=/music",
    "training.models=[c1m1, tangent, ear]",
    "training.sampling=downsampled",
    "tuning.enabled=true",
    "spotify.enabled=true",
    "spotify.accept_policy=true",
    "spotify.playlists={Jazz: ['37i9dQZF1DXbITWG1ZJKYt']}",
]


def steps() -> list[BaseNode]:
    """Every step that there is."""
    asked = [setting for setting in ASKED if not setting.startswith("data.")]
    return list(create_pipeline(load_settings(assignments=asked), "/artifacts", "/pushed").components)


def test_every_step_covers_all_the_code_and_data_that_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    covered = {}
    for step in steps():
        if isinstance(step, BaseComponent):
            files = files_of(modules_used_by(*modules_named_by(step)))
            covered[step.id] = {str(file.relative_to(ROOT)) for file in files}
            versions = {output.additional_custom_properties[MADE_WITH_PROPERTY] for output in step.outputs.values()}
            assert versions == {code_version(*modules_named_by(step))}
    with capsys.disabled():
        for name, found in covered.items():
            data = sorted(file for file in found if not file.endswith(".py"))
            print(f"\n{name}: {len(found) - len(data)} modules; data files: {', '.join(data) or 'none'}", end="")
        print()
    assert {name for name, found in covered.items() if not found} == OF_TFX
    assert covered["TrackExampleGen"] >= {
        "components/track_example_gen/driver.py",
        "deepmusic_genre/analyser/basis.json",
        "deepmusic_genre/analyser/decode.py",
        "deepmusic_genre/tracks/audio.py",
    }
    assert covered["Trainer-c1m1"] >= {"components/trainer/run.py", "components/trainer/networks.py"}
    assert covered["Trainer-tangent"] >= {"components/trainer/tangent.py", "components/transform/statistics.py"}
    assert covered["Trainer-ear"] >= {"components/trainer/ear.py", "components/trainer/kernel_machine.py"}
    assert covered["Transform"] >= {"components/transform/preprocessing.py"}
    assert covered["Evaluator"] >= {"components/evaluator/metrics.py", "components/scoring/scores.py"}
    assert covered["ReportGen"] >= {"components/report_gen/report.html.j2", "components/report_gen/report.css"}


def test_what_is_imported_when_a_step_runs_is_covered() -> None:
    # Whatever tests have imported by now: each project module's imports have to be among those that were found.
    loaded = {name for name in sys.modules if name.partition(".")[0] in module.PACKAGES}
    # A package has its modules as attributes, whoever imported them.
    for name in {each for each in loaded & module.every_module() if not hasattr(sys.modules[each], "__path__")}:
        imported = {
            value.__name__
            for value in vars(sys.modules[name]).values()
            if type(value) is type(sys) and value.__name__ in module.every_module()
        }
        assert imported <= {*modules_used_by(name), name}, name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of two packages, in which ``tiny_one.main`` uses a module of its own and one of the other package."""
    files = {
        "tiny_one/__init__.py": "",
        "tiny_one/main.py": "from tiny_one import inner\n\ndef later():\n    from tiny_two.deep import module\n",
        "tiny_one/inner.py": "x = 1\n",
        "tiny_one/other.py": "",
        "tiny_two/__init__.py": "",
        "tiny_two/deep/__init__.py": "",
        "tiny_two/deep/module.py": "",
        "tiny_two/deep/numbers.json": "{}",
        "tiny_two/alone.py": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PACKAGES", ("tiny_one", "tiny_two"))
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    for cached in (module._graph, module._digest_of, module._data_files, module.environment):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("tiny_one/main.py", True),
        ("tiny_one/inner.py", True),
        ("tiny_one/__init__.py", True),
        ("tiny_two/deep/module.py", True),
        ("tiny_two/deep/numbers.json", True),
        ("tiny_two/__init__.py", True),
        ("tiny_one/other.py", False),
        ("tiny_two/alone.py", False),
    ],
)
def test_a_version_changes_with_what_is_used_at_any_depth_and_with_nothing_else(
    file: str, changes: bool, project: Path
) -> None:
    before = code_version("tiny_one.main")
    (project / file).write_text(f"{(project / file).read_text()} \n")
    _forget()
    assert (code_version("tiny_one.main") != before) == changes


def test_a_version_changes_with_an_installed_package(project: Path) -> None:
    before = code_version("tiny_one.main")
    (project / "somebody-1.0.dist-info").mkdir()
    _forget()
    after = code_version("tiny_one.main")
    (project / "somebody-1.0.dist-info").rename(project / "somebody-1.1.dist-info")
    _forget()
    assert len({before, after, code_version("tiny_one.main")}) == 3
