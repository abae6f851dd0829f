"""Artifact types that TFX does not have."""

from __future__ import annotations

from tfx.types.artifact import Artifact


class IngestReport(Artifact):
    """What was read and what was left out: ``summary.json`` and ``rejections.jsonl``.

    Kubeflow takes a custom type's name for the path it imports the class by, in the form ``package.Class``.
    """

    TYPE_NAME = "components.IngestReport"
    SUMMARY_FILE = "summary.json"
    REJECTIONS_FILE = "rejections.jsonl"
