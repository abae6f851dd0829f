"""From a run's artifacts to the content of its report."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.types import Artifact, artifact_utils

from components.anomaly_gate.anomalies import describe, read_anomalies
from components.artifacts import (
    COMPONENT_PROPERTY,
    SECONDS_PROPERTY,
    IngestReport,
    TestPredictions,
)
from components.evaluator.answers import MODEL, SLICE_PREFIX
from components.evaluator.metrics import ACCURACY, MACRO_F1
from components.model_check.executor import read_faults
from components.model_selector.selection import Candidate, load_selection
from components.model_validator.verdict import load_verdict
from components.report_gen.content import (
    QUANTILES,
    DataReport,
    Lineage,
    ModelReport,
    Report,
    SegmentCounts,
    SliceRow,
    Timing,
)
from components.report_gen.distributions import count_examples
from components.report_gen.notes import notes
from components.report_gen.scored import change, mistakes, score, uncalibrated
from components.scoring.predictions import Predictions, load_predictions
from components.scoring.scores import Bootstrap, Floats
from components.storage.files import fileio
from components.storage.json_files import Struct, read_json
from components.track_example_gen.report import GenresOfTrack, IngestSummary
from components.track_example_gen.splits import TEST
from components.trainer.record import TrainingRecord, load_training, trainings
from deepmusic_genre.tracks.track import SEGMENT_FEATURES, Rejection

_INPUTS = (
    "ingest_report",
    "examples",
    "statistics",
    "anomalies",
    "model_runs",
    "selection",
    "predictions",
    "evaluation",
    "verdict",
    "refitted_run",
    "infra_blessing",
)
"""In the order in which a run makes them."""

_MISTAKES = 10

Slices = dict[str, list[SliceRow]]
"""Rows by the feature that the test split was sliced by."""


@dataclass(frozen=True)
class Run:
    """What is known of a run besides its artifacts."""

    settings: dict[str, Any]
    synthetic: bool
    code_version: str
    run_id: str | None


def gather(artifacts: Mapping[str, Sequence[Artifact]], run: Run) -> Report:
    """Reads everything that ReportGen is given."""
    singles = ("selection", "predictions", "verdict", "infra_blessing")
    uri = {key: artifact_utils.get_single_uri(list(artifacts[key])) for key in singles}
    selection, verdict = load_selection(uri["selection"]), load_verdict(uri["verdict"])
    faults = read_faults(uri["infra_blessing"])
    bootstrap = Bootstrap(run.settings["evaluation"]["resamples"], run.settings["evaluation"]["confidence"])
    data = _data(artifacts, run.settings["genres"])
    baseline = _baseline(uri["predictions"])
    models = _models(artifacts, selection.candidates, uri["predictions"], baseline, bootstrap)
    return Report(
        synthetic=run.synthetic,
        blessed=verdict.blessed and not faults,
        selected=selection.selected,
        verdict=verdict,
        faults=faults,
        notes=notes(data, models, run.synthetic),
        data=data,
        models=models,
        refitted=_refitted(artifacts.get("refitted_run", ())),
        baseline=score(TestPredictions.BASELINE, baseline, bootstrap) if baseline else None,
        timings=_timings(artifacts),
        lineage=_lineage(artifacts["examples"], run),
        settings=run.settings,
    )


def _models(
    artifacts: Mapping[str, Sequence[Artifact]],
    candidates: Iterable[Candidate],
    predictions_uri: str,
    baseline: Predictions | None,
    bootstrap: Bootstrap,
) -> list[ModelReport]:
    records = {training.model: training for training in map(load_training, trainings(artifacts["model_runs"]))}
    slices = _slices(artifact_utils.get_single_uri(list(artifacts["evaluation"])))
    models = []
    for candidate in candidates:
        training = records[candidate.model]
        predictions = load_predictions(os.path.join(predictions_uri, f"{candidate.model}.parquet"))
        models.append(
            ModelReport(
                training=training,
                validation=candidate,
                test=score(candidate.model, predictions, bootstrap),
                uncalibrated=uncalibrated(predictions, training, bootstrap.confidence),
                change=change(predictions, baseline, bootstrap) if baseline else None,
                mistakes=mistakes(predictions, _MISTAKES),
                slices=slices.get(candidate.model, {}),
            )
        )
    return models


def _refitted(runs: Sequence[Artifact]) -> TrainingRecord | None:
    """What is known of the training after the evaluation; None where the evaluated model was handed on."""
    record = load_training(runs[0].uri) if runs else None
    return record if record and TEST in record.learned_from else None


def _baseline(predictions_uri: str) -> Predictions | None:
    path = os.path.join(predictions_uri, f"{TestPredictions.BASELINE}.parquet")
    return load_predictions(path) if fileio.exists(path) else None


def _slices(evaluation_uri: str) -> dict[str, Slices]:
    """Each model's scores on each slice; the values of a feature are in order."""
    models: dict[str, Slices] = {}
    for key, by_output in sorted(tfma.load_eval_result(evaluation_uri).slicing_metrics, key=lambda item: item[0]):
        parts = dict(key)
        slices = models.setdefault(parts.pop(MODEL), {})
        metrics = by_output[""][""]
        for feature, value in parts.items():
            tracks, accuracy, macro_f1 = (
                float(metrics[name]["doubleValue"]) for name in ("example_count", ACCURACY, MACRO_F1)
            )
            row = SliceRow(str(value), int(tracks), accuracy, macro_f1)
            slices.setdefault(feature.removeprefix(SLICE_PREFIX), []).append(row)
    return models


def _data(artifacts: Mapping[str, Sequence[Artifact]], genres: Sequence[str]) -> DataReport:
    (ingest,), (examples,) = artifacts["ingest_report"], artifacts["examples"]
    statistics = {split: _statistics(uri) for split, uri in _split_uris(artifacts["statistics"]).items()}
    anomalies = {split: read_anomalies(uri) for split, uri in _split_uris(artifacts["anomalies"]).items()}
    splits, coefficients = count_examples(_split_uris([examples]), genres, _ranges(statistics.values()))
    return DataReport(
        ingest=read_json(os.path.join(ingest.uri, IngestReport.SUMMARY_FILE), IngestSummary),
        rejections=_lines(os.path.join(ingest.uri, IngestReport.REJECTIONS_FILE), Rejection),
        several_genres=_lines(os.path.join(ingest.uri, IngestReport.SEVERAL_GENRES_FILE), GenresOfTrack),
        splits=splits,
        segments=[_segment_counts(split, found["num_segments"]) for split, found in statistics.items()],
        quantiles=QUANTILES,
        coefficients=coefficients,
        anomalies=describe(anomalies),
    )


def _lines(path: str, of_type: type[Struct]) -> list[Struct]:
    with fileio.open(path, "rb") as file:
        return msgspec.json.Decoder(of_type).decode_lines(file.read())


_Features = dict[str, statistics_pb2.NumericStatistics]


def _statistics(uri: str) -> _Features:
    with fileio.open(os.path.join(uri, "FeatureStats.pb"), "rb") as file:
        (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read()).datasets
    return {feature.path.step[0]: feature.num_stats for feature in dataset.features}


def _ranges(statistics: Iterable[_Features]) -> Floats:
    splits = list(statistics)
    return np.array(
        [
            [min(split[name].min for split in splits), max(split[name].max for split in splits)]
            for name in SEGMENT_FEATURES
        ]
    )


def _segment_counts(split: str, found: statistics_pb2.NumericStatistics) -> SegmentCounts:
    histogram = next(each for each in found.histograms if each.type == statistics_pb2.Histogram.STANDARD)
    return SegmentCounts(
        split=split,
        minimum=found.min,
        median=found.median,
        mean=found.mean,
        maximum=found.max,
        edges=[histogram.buckets[0].low_value, *(bucket.high_value for bucket in histogram.buckets)],
        tracks=[bucket.sample_count for bucket in histogram.buckets],
    )


def _timings(artifacts: Mapping[str, Sequence[Artifact]]) -> list[Timing]:
    found = {
        artifact.get_string_custom_property(COMPONENT_PROPERTY): artifact.get_float_custom_property(SECONDS_PROPERTY)
        for key in _INPUTS
        for artifact in artifacts.get(key, ())
        if artifact.has_custom_property(COMPONENT_PROPERTY) and artifact.has_custom_property(SECONDS_PROPERTY)
    }
    return [Timing(component, seconds) for component, seconds in found.items()]


def _lineage(examples: Sequence[Artifact], run: Run) -> Lineage:
    return Lineage(
        pipeline=run.settings["name"],
        run_id=run.run_id,
        code_version=run.code_version,
        data_fingerprint=examples[0].get_string_custom_property(FINGERPRINT_PROPERTY_NAME) or None,
        versions={"TFX": version("tfx"), "TensorFlow": version("tensorflow"), "Python": platform.python_version()},
    )


def _split_uris(artifacts: Sequence[Artifact]) -> dict[str, str]:
    artifact = artifact_utils.get_single_instance(list(artifacts))
    return {
        split: artifact_utils.get_split_uri([artifact], split)
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }
