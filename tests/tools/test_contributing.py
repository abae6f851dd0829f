"""Follows the walk-throughs of CONTRIBUTING.md, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

_CODE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COPIED = ("components", "deepmusic_genre", "docs", "pipeline", "schemas", "serving", "tests", "tools")
_FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "zensical.toml")


class Copy:
    """The project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in _FILES:
            shutil.copy(ROOT / name, folder / name)

    def follow(self, kind: str) -> None:
        """Writes what the section on adding such a thing shows: a new file, or more of one that is there."""
        sections = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")
        (section,) = (each for each in sections if each.startswith(f"Add a {kind}\n"))
        for name, code in _CODE.findall(section):
            file = self.folder / name
            file.parent.mkdir(exist_ok=True)
            if not file.exists():
                file.write_text(code, encoding="utf-8")
            else:
                # Before the first thing that is not defined by what is above it.
                self.insert(name, "\n_NETWORK_SPACE", f"\n{code}\n")

    def insert(self, name: str, before: str, text: str) -> None:
        """Puts a text before the first place where another stands."""
        file = self.folder / name
        content = file.read_text(encoding="utf-8")
        assert before in content, f"{name}: {before}"
        file.write_text(content.replace(before, text + before, 1), encoding="utf-8")

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def says(self, code: str) -> str:
        """What a program prints that ends well."""
        result = self.python("-c", code)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "project")


_REGISTRY = "deepmusic_genre/tracks/registry.py"
_READ = "from deepmusic_genre.tracks.registry import read; print(*read('a.segments', open('a.segments', 'rb')))"
_OF_ENDINGS = "tests/tools/test_docs.py::test_file_endings_are_those_of_the_sources"


def test_a_source_is_added_as_described(copy: Copy) -> None:
    np.savetxt(copy.folder / "a.segments", np.full((3, 24), 0.5))
    copy.follow("source")
    assert "Rejection" in copy.says(_READ), "before it is in the registry"
    copy.insert(_REGISTRY, "from deepmusic_genre.tracks.source", _import("deepmusic_genre.tracks.segment_table"))
    copy.insert(_REGISTRY, "AudioFile(middle))", "SegmentTable(), ")
    assert re.search(r"Track\(track_id='a', source='segment_table', duration=0.75,", copy.says(_READ))
    (copy.folder / "a.segments").write_text("1 2 3\n")
    assert "no table of segments" in copy.says(_READ)
    without = copy.python("-m", "pytest", "-n", "0", "-q", _OF_ENDINGS)
    assert "'.segments'" in without.stdout, "the docs do not name the ending"
    copy.insert("docs/your-data.md", "| an archive of any", "| segments | `.segments` | the file's name |\n")
    within = copy.python("-m", "pytest", "-n", "0", "-q", _OF_ENDINGS)
    assert within.returncode == 0, within.stdout


def _import(module: str) -> str:
    (name,) = (each for each in ("SegmentTable", "SplitSizes") if each.lower() in module.replace("_", ""))
    return f"from {module} import {name}\n"


_SETTINGS = "from pipeline.settings import load_settings; load_settings(assignments=['training.models=[one_layer]'])"

_FIT = """
import tensorflow as tf
from components.trainer.fitting import Task
from components.trainer.registry import MODELS, fit_model
from components.transform.statistics import N_STATISTICS
from pipeline.settings import load_settings
tracks = tf.data.Dataset.from_tensor_slices(({"track_statistics": tf.random.normal((9, N_STATISTICS))}, [0, 1, 2] * 3))
chosen = load_settings(assignments=["models.one_layer.epochs=2"]).models.one_layer
fit = fit_model("one_layer", Task(tracks, tracks, 3, "none", 0, "cache"), chosen.model_dump())
print(MODELS["one_layer"].in_epochs, fit.model({"track_statistics": tf.zeros((2, N_STATISTICS))}).shape)
"""


def test_a_model_is_added_as_described(copy: Copy) -> None:
    copy.follow("model")
    copy.insert(
        "components/trainer/registry.py",
        '    "tangent": ModelDeclaration(',
        '    "one_layer": _network(("track_statistics",), fit=_fit_one_layer),\n',
    )
    without = copy.python("-c", _SETTINGS)
    assert "models.one_layer: Field required" in without.stderr, "the defaults do not have it"
    defaults = (copy.folder / "pipeline" / "defaults.yaml").read_text(encoding="utf-8")
    (like,) = re.findall(r"^  c1m1: (\{.*\})$", defaults, re.MULTILINE)
    copy.insert("pipeline/defaults.yaml", "  c1m1: {", f"  one_layer: {like}\n")
    assert copy.python("-c", _SETTINGS).returncode == 0
    assert "True (2, 3)" in copy.says(_FIT)


_NODES = """
from components.split_sizes.component import SplitSizes
from tfx.types import standard_artifacts
from pipeline.create_pipeline import create_pipeline
from pipeline.settings import load_settings
settings = load_settings(assignments=["data.path=tracks"])
print([node.id for node in create_pipeline(settings, "artifacts", "pushed").components if node.id == "SplitSizes"])
"""
_COUNT = """
import tensorflow as tf
from components.split_sizes.executor import Executor
from tfx.types import standard_artifacts
examples, sizes = standard_artifacts.Examples(), standard_artifacts.String()
examples.uri, examples.split_names, sizes.uri = "examples", '["train"]', "sizes"
tf.io.gfile.makedirs("examples/Split-train")
with tf.io.TFRecordWriter("examples/Split-train/a") as writer:
    [writer.write(b"") for _ in range(3)]
Executor().Do({"examples": [examples]}, {"sizes": [sizes]}, {})
print(sizes.value)
"""


def test_a_component_is_added_as_described(copy: Copy) -> None:
    copy.follow("component")
    wiring = "pipeline/create_pipeline.py"
    copy.insert(wiring, "from components.track_example_gen.component", _import("components.split_sizes.component"))
    copy.insert(wiring, "\n    trainers = []", "    nodes.append(SplitSizes(examples=examples))\n")
    (copy.folder / "components" / "split_sizes" / "__init__.py").touch()
    assert "['SplitSizes']" in copy.says(_NODES)
    assert '{"train": 3}' in copy.says(_COUNT)


def test_every_component_is_wired() -> None:
    wiring = (ROOT / "pipeline" / "create_pipeline.py").read_text(encoding="utf-8")
    for file in (ROOT / "components").glob("*/component.py"):
        assert f"from components.{file.parent.name}.component import" in wiring
