"""Runs TrackExampleGen for the tests, and reads what it wrote."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.artifacts import IngestReport
from components.track_example_gen.executor import Executor
from components.track_example_gen.splits import SPLITS
from deepmusic_genre.tracks.track import SEGMENT_FEATURES
from tests.support.tracks import GENRES

Features = dict[str, list[Any]]


def features(example: Any) -> Features:
    """A tf.Example's values by feature; a feature that is there without a value is left out."""
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    return {name: list(getattr(example.features.feature[name], kind).value) for name, kind in kinds.items() if kind}


def matrix(found: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """An example's segments ``[segments, 24]``."""
    return np.array([found[name] for name in SEGMENT_FEATURES], np.float32).T


def records(path: Path) -> list[Features]:
    """The examples of a TFRecord file."""
    dataset = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [features(tf.train.Example.FromString(record)) for record in dataset]


@dataclass(frozen=True)
class Run:
    """What an execution wrote."""

    examples: dict[str, list[Features]]
    summary: dict[str, Any]
    rejections: list[dict[str, str]]
    several_genres: list[dict[str, Any]]
    unmatched_labels: list[dict[str, Any]]
    contents: dict[str, bytes]

    @property
    def every_example(self) -> dict[str, Features]:
        """Examples by track id; an id that stood there twice would make it smaller than the count."""
        return {item["track_id"][0].decode(): item for items in self.examples.values() for item in items}

    @property
    def count(self) -> int:
        return sum(map(len, self.examples.values()))


IN_PROCESS = ("--runner=FnApiRunner", "--sdk_container_image=none")


def execute(
    root: Path, data: Path | str, labels: Path | str | None, beam_args: Sequence[str] = IN_PROCESS, **properties: Any
) -> Run:
    """Runs the real executor; what it writes goes below ``root``."""
    examples, report = standard_artifacts.Examples(), IngestReport()
    examples.uri, report.uri = str(root / "examples"), str(root / "report")
    for folder in ("examples", "report", "tmp"):
        (root / folder).mkdir(parents=True)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args),
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    defaults = {
        "data": str(data),
        "labels": str(labels) if labels else None,
        "spans": None,
        "store": str(root / "shards"),
        "genres": json.dumps(GENRES),
        "splits": str(root / "splits"),
        "other_genres": "leave_out",
        "genre_names": "{}",
        "unknown_artists": json.dumps(["Unknown"]),
        "split_by": "artist",
        "max_segments": None,
        "max_rejected_share": 0.05,
        "several_genres": "drop",
        "mix_analysers": 0,
        "pretrained": "off",
        "code_version": "tests",
    }
    Executor(context).Do({}, {"examples": [examples], "report": [report]}, defaults | properties)
    assert json.loads(examples.split_names) == list(SPLITS)
    written = [path for name in ("examples", "report") for path in sorted((root / name).rglob("*")) if path.is_file()]
    return Run(
        examples={
            split: [item for file in sorted((root / "examples" / f"Split-{split}").iterdir()) for item in records(file)]
            for split in SPLITS
        },
        summary=json.loads((root / "report" / "summary.json").read_bytes()),
        rejections=_lines(root / "report" / "rejections.jsonl"),
        several_genres=_lines(root / "report" / "several_genres.jsonl"),
        unmatched_labels=_lines(root / "report" / "unmatched_labels.jsonl"),
        contents={str(path.relative_to(root)): path.read_bytes() for path in written},
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
