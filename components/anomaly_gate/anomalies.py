"""Anomalies as a person reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.storage.files import fileio

_FILE = "SchemaDiff.pb"

DATASET = "(the split as a whole)"


def describe(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[str]:
    """One line an anomaly: split, feature, reason.

    Args:
        anomalies: by split.

    Returns:
        The lines in the splits' order; empty if there is no anomaly.
    """
    return [
        f"{split}: {feature}: {reason}" for split, found in anomalies.items() for feature, reason in _reasons(found)
    ]


def read_anomalies(split_uri: str) -> anomalies_pb2.Anomalies:
    """What ExampleValidator wrote for a split."""
    with fileio.open(os.path.join(split_uri, _FILE), "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _reasons(anomalies: anomalies_pb2.Anomalies) -> list[tuple[str, str]]:
    by_feature = [
        (feature, " ".join(_plain(reason.description) for reason in info.reason) or _plain(info.description))
        for feature, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        by_feature.append((DATASET, _plain(anomalies.dataset_anomaly_info.description)))
    return by_feature


def _plain(description: str) -> str:
    return description.replace("(upto six significant digits)", "").strip().rstrip(".") + "."
