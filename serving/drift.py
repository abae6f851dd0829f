"""``make drift``: whether the tracks that were served are still like those that the model was trained on.

Of each coefficient, TensorFlow Data Validation compares the distribution over all segments: the Jensen-Shannon
divergence of two histograms, 0 for equal ones, 1 for such as have nothing in common (J. Lin, Divergence measures based
on the Shannon entropy, 1991).
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import run_checkout_process
from deepmusic_genre.quiet import silent_import
from deepmusic_genre.tracks.track import SEGMENT_FEATURES
from pipeline.metadata.lineage import Lineage
from pipeline.pushed import pushed_version, pushing_settings
from pipeline.settings import load_settings

THRESHOLD = 0.2
"""What chance does not reach. Of 1,086 real tracks, random parts of 30 are up to 0.17 apart from half of the others in
their worst coefficient, parts of 100 up to 0.13, of 300 up to 0.08; timbre that is larger by a quarter is 0.36 apart,
by a half 0.6."""

MIN_TRACKS = 50
"""Fewer tracks are apart by chance alone."""

_DRIFT = 3
_LOGS = "*.tfrecord"
_RUNNER = "--runner=FnApiRunner"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 0 if no coefficient has drifted, 3 if one has, 1 with a line if it cannot be said."""
    parser = argparse.ArgumentParser(prog="python -m serving.drift", description=__doc__)
    parser.add_argument("--settings", type=Path, help="the YAML file that the pipeline ran with")
    parser.add_argument("--name", help="the name that the pipeline ran under")
    parser.add_argument("--log", help="the folder of make serve LOG=…")
    parser.add_argument(
        "--model-version", type=int, help="the pushed version to compare with; the live one if not given"
    )
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"of the divergence, 0 to 1 ({THRESHOLD})")
    options = parser.parse_args(arguments)
    try:
        return _compare(options)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return 1


def _compare(options: argparse.Namespace) -> int:
    if not options.log:
        raise PipelineInputError("make drift needs LOG=, the folder that make serve LOG=… logged served tracks to.")
    settings = pushing_settings(load_settings(options.settings, texts={"name": options.name} if options.name else {}))
    number = options.model_version
    if number is None:
        number = int(pushed_version(settings.pushed, None).rpartition("/")[2])
    lineage = Lineage(Path(settings.home) / "metadata.sqlite")
    version = lineage.pushed().get(number)
    if version is None:
        raise PipelineInputError(f"No run pushed version {number} to {settings.pushed}; make versions lists them.")
    trained_on = lineage.training_statistics(version)
    files = sorted(map(str, Path(options.log).glob(_LOGS)))
    if not files:
        raise PipelineInputError(
            f"No served tracks in {options.log}: make serve LOG=… logs them, and its files appear within a minute."
        )
    console = Console(soft_wrap=True, highlight=False)
    with console.status("Comparing the served tracks with the training data"):
        served = _statistics(files)
        tracks = int(served.datasets[0].num_examples)
        if tracks < MIN_TRACKS:
            raise PipelineInputError(
                f"{tracks} served tracks in {options.log} are too few to say anything: it takes {MIN_TRACKS}."
            )
        distances = _distances(trained_on, served)
    drifted = [name for name, distance in distances.items() if distance > options.threshold]
    title = f"{tracks:,} served tracks and what version {number} was trained on"
    console.print(_table(title, distances, options.threshold))
    told = f"drift: {', '.join(drifted)}" if drifted else "no drift"
    console.print(f"{told} (threshold {options.threshold:g})")
    return _DRIFT if drifted else 0


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
    anomalies = tfdv.validate_statistics(served, _schema(), previous_statistics=tfdv.load_stats_binary(trained_on))
    measured = {info.path.step[0]: info.drift_measurements[0].value for info in anomalies.drift_skew_info}
    missing = [name for name in SEGMENT_FEATURES if name not in measured]
    if missing:
        raise PipelineInputError(f"The served tracks have no {', '.join(missing)}.")
    return dict(sorted(measured.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    run_checkout_process(main)
