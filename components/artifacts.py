"""Artifact types that TFX does not have.

Kubeflow takes a custom type's name for the path it imports the class by, in the form ``package.Class``.
"""

from __future__ import annotations

from tfx.types.artifact import Artifact

COMPONENT_PROPERTY = "component"
"""Custom property: the id of the component that made an artifact, where the runner notes it."""

SECONDS_PROPERTY = "seconds"
"""Custom property: how long that component took, wall-clock."""


CHECKSUMS_PROPERTY = "checksums"
"""Custom property: the checksums of an artifact's files, as JSON, see :mod:`components.storage.checksums`."""

MADE_WITH_PROPERTY = "made_with"
"""Custom property: a hash of the code and of the environment that made an artifact, part of its cache key."""

DESTINATION_PROPERTY = "pushed_destination"
"""Custom property of a pushed model, TFX's: its folder among the versions."""


class SpotifyStore(Artifact):
    """Where a store of crawled analyses is, what it holds and what could not be had: ``store.json``."""

    TYPE_NAME = "components.SpotifyStore"
    FILE = "store.json"


class IngestReport(Artifact):
    """What was read and left out: ``summary.json``, ``rejections.jsonl``, and ``several_genres.jsonl``.

    ``unmatched_labels.jsonl`` has the rows of labels files that label no track.
    ``contradictions.jsonl`` has the tracks whose labels file, own file and folder name different genres.
    ``shards.json`` names what the examples are made of in the store of shards.
    """

    TYPE_NAME = "components.IngestReport"
    SUMMARY_FILE = "summary.json"
    REJECTIONS_FILE = "rejections.jsonl"
    SEVERAL_GENRES_FILE = "several_genres.jsonl"
    NOTES_FILE = "notes.jsonl"
    UNMATCHED_LABELS_FILE = "unmatched_labels.jsonl"
    CONTRADICTIONS_FILE = "contradictions.jsonl"
    SHARDS_FILE = "shards.json"


class ModelSelection(Artifact):
    """Which candidate goes on, and by what scores: ``selection.json``."""

    TYPE_NAME = "components.ModelSelection"
    FILE = "selection.json"


class TestPredictions(Artifact):
    """Each candidate's answers to the test split, ``<model>.parquet``, and the baseline's, ``baseline.parquet``."""

    TYPE_NAME = "components.TestPredictions"
    BASELINE = "baseline"


class ModelVerdict(Artifact):
    """What a model was checked for, and how it came out: ``verdict.json``."""

    TYPE_NAME = "components.ModelVerdict"


class RunReport(Artifact):
    """A run for people, ``report.html``, and for programs, ``report.json``."""

    TYPE_NAME = "components.RunReport"
    HTML_FILE = "report.html"
    JSON_FILE = "report.json"
