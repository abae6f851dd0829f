"""``deepmusic drift``: whether the tracks that were served are still like those that the model was trained on.

Of each coefficient, TensorFlow Data Validation compares the distribution over all segments: the Jensen-Shannon
divergence of two histograms, 0 for equal ones, 1 for such as have nothing in common (J. Lin, Divergence measures based
on the Shannon entropy, 1991).
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.storage.places import read
from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import GATE, OK
from deepmusic_genre.quiet import silent_import
from deepmusic_genre.tracks.track import SEGMENT_FEATURES
from pipeline.metadata.lineage import Lineage
from pipeline.pushed import pushed_version, pushing_settings
from pipeline.run.command_line import named_settings

MIN_TRACKS = 50
"""Fewer tracks are apart by chance alone."""

_LOGS = "*.tfrecord"
_RUNNER = "--runner=FnApiRunner"


def compare(given: Given, log: str, number: int | None, threshold: float) -> int:
    """Prints how far served tracks are from what a version was trained on.

    Args:
        given: Names the pipeline.
        log: Folder of the server's request log.
        number: Version to compare with, None for the live one.
        threshold: Jensen-Shannon divergence of a coefficient that counts as drift, 0..1.

    Returns:
        0 if no coefficient has drifted, 3 if one has.

    Raises:
        PipelineInputError: It cannot be said.
    """
    settings = pushing_settings(named_settings(given, "spotify.enabled=false"))
    if number is None:
        number = int(pushed_version(settings.pushed, None).rpartition("/")[2])
    lineage = Lineage(settings)
    version = lineage.pushed().get(number)
    if version is None:
        raise PipelineInputError(
            f"No run pushed version {number} to {settings.pushed}; `deepmusic versions` lists them."
        )
    trained_on = lineage.training_statistics(version)
    files = sorted(map(str, Path(log).glob(_LOGS)))
    if not files:
        raise PipelineInputError(
            f"No served tracks in {log}: `deepmusic serve --log` logs them, and its files appear within a minute."
        )
    console = Console(soft_wrap=True, highlight=False)
    with console.status("Comparing the served tracks with the training data"):
        served = _statistics(files)
        tracks = int(served.datasets[0].num_examples)
        if tracks < MIN_TRACKS:
            raise PipelineInputError(
                f"{tracks} served tracks in {log} are too few to say anything: it takes {MIN_TRACKS}."
            )
        distances = _distances(trained_on, served)
    drifted = [name for name, distance in distances.items() if distance > threshold]
    title = f"{tracks:,} served tracks and what version {number} was trained on"
    console.print(_table(title, distances, threshold))
    told = f"drift: {', '.join(drifted)}" if drifted else "no drift"
    console.print(f"{told} (threshold {threshold:g})")
    return GATE if drifted else OK


def _table(title: str, distances: Mapping[str, float], threshold: float) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("coefficient")
    table.add_column("Jensen-Shannon divergence", justify="right")
    table.add_column("")
    for name, distance in distances.items():
        table.add_row(name, f"{distance:.4f}", "drift" if distance > threshold else "")
    return table


def _quietly() -> Any:
    """TensorFlow Data Validation, which takes seconds to import, without what it and others log."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    with silent_import():
        import tensorflow_data_validation

    return tensorflow_data_validation


def _schema() -> Any:
    """The segments' features alone: a client's tf.Example may bring any others. With a threshold, they are compared."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for name in SEGMENT_FEATURES:
        feature = schema.feature.add(name=name, type=schema_pb2.FLOAT)
        feature.drift_comparator.jensen_shannon_divergence.threshold = 0
    return schema


def _statistics(files: Sequence[str]) -> Any:
    """Of the served tracks, computed as StatisticsGen does, in this process: the log is a folder of this machine."""
    tfdv = _quietly()
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tfx_bsl.public.tfxio import TFExampleRecord

    with tempfile.TemporaryDirectory(prefix="deepmusic-") as folder:
        path = str(Path(folder) / "statistics.pb")
        try:
            with beam.Pipeline(options=PipelineOptions([_RUNNER])) as pipeline:
                records = TFExampleRecord(list(files), schema=_schema(), telemetry_descriptors=["deepmusic", "drift"])
                statistics = pipeline | records.BeamSource() | tfdv.GenerateStatistics()
                statistics | tfdv.WriteStatisticsToBinaryFile(path)
        except (ValueError, OSError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise PipelineInputError(f"The log of served tracks cannot be read: {reason}") from error
        return tfdv.load_stats_binary(path)


def _distances(trained_on: str, served: Any) -> dict[str, float]:
    """The divergence of each coefficient, the largest first."""
    tfdv = _quietly()
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

    expected = DatasetFeatureStatisticsList.FromString(read(trained_on))
    anomalies = tfdv.validate_statistics(served, _schema(), previous_statistics=expected)
    measured = {info.path.step[0]: info.drift_measurements[0].value for info in anomalies.drift_skew_info}
    missing = [name for name in SEGMENT_FEATURES if name not in measured]
    if missing:
        raise PipelineInputError(f"The served tracks have no {', '.join(missing)}.")
    return dict(sorted(measured.items(), key=lambda item: -item[1]))
