"""``make benchmark-models``: cross-validation of the models, and of a classical classifier as the yardstick.

Folds are grouped by artist and stratified by genre. Each fold's training tracks go through the pipeline's own transform
and its own training; a fold's scores are never part of what a model was chosen or fitted by. What decides by itself how
long it is trained learns from all tracks outside the fold; a network leaves a ninth of them, of other artists, for its
early stopping.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deepmusic_genre.process import run_checkout_process
from deepmusic_genre.quiet import silent_import

# The table is what is asked for.
with silent_import():
    import tensorflow as tf

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tensorflow_transform.tf_metadata import metadata_io
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components.scoring.saved_model import request, run_signature, serving_session
from components.scoring.scores import Indices, accuracy, balanced_accuracy, confusion_matrix, genre_scores, macro_f1
from components.track_example_gen.artists import Nobody
from components.track_example_gen.catalogue import list_analyses, load_labels
from components.track_example_gen.hearing import hears
from components.track_example_gen.ingest import read_tracks
from components.trainer.description import ModelDescription
from components.trainer.export import ARRAYS_SIGNATURE, ServingModule, save
from components.trainer.fitting import Task
from components.trainer.input_pipeline import TransformedReader, TransformGraph, cached_tracks
from components.trainer.registry import MODELS, ModelName, fit_model
from components.trainer.run import make_deterministic, predict
from components.transform.preprocessing import preprocessing_fn
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.examples import encode_track
from deepmusic_genre.tracks.labels import GenreNames
from deepmusic_genre.tracks.track import N_COEFFICIENTS, Track
from pipeline.settings import Settings, load_settings

CLASSICAL = "classical"
_VALIDATION_FOLDS = 9
_TIMED = 50
_PARTS = ("train", "validation", "test")


@dataclass
class Result:
    """What cross-validation found out about a model.

    Attributes:
        scores: one array ``[genres + 3]`` a seed, over the tracks of all folds: accuracy, balanced accuracy, macro F1,
            then the F1 of each genre; each 0..1.
        seconds: of each fit.
        parameters: trained numbers, 0 where there is no such number.
        milliseconds: of one prediction, the median; NaN where it was not measured.
    """

    scores: list[npt.NDArray[np.float64]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    parameters: int = 0
    milliseconds: float = float("nan")


@dataclass(frozen=True)
class Fold:
    """Which tracks a model is fitted to, stops by, and is scored on; indices into the catalogue."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Options:
    """How much is run."""

    folds: int
    seeds: int


@dataclass(frozen=True)
class Catalogue:
    """Labelled tracks.

    Attributes:
        genres: those that are left, in the settings' order.
    """

    tracks: list[Track]
    genres: tuple[str, ...]

    @property
    def labels(self) -> Indices:
        """Each track's place in the genre list."""
        return np.array([self.genres.index(track.genre) for track in self.tracks])

    @property
    def artists(self) -> list[str]:
        """What tells each track's artist from others."""
        return [track.artist_key or track.track_id for track in self.tracks]


def load_catalogue(settings: Settings, min_tracks: int) -> Catalogue:
    """Reads a catalogue as the pipeline does, without genres of fewer than ``min_tracks`` tracks.

    Raises:
        PipelineInputError: the files are not there, or fewer than two genres are left.
    """
    labels = load_labels(settings.data.labels, settings.data.label_columns) if settings.data.labels else None
    paths = list_analyses(str(settings.data.path)).files
    names = GenreNames(settings.genres, names=settings.data.genre_names)
    analyser = settings.analyser
    read = read_tracks(paths, labels, names, analyser.middle, hears(analyser.pretrained, paths))
    nobody = Nobody(settings.data.unknown_artists)
    tracks = [nobody.taken_out(item) for item in read if isinstance(item, Track) and item.genre]
    counts = Counter(track.genre for track in tracks)
    genres = tuple(genre for genre in settings.genres if counts[genre] >= min_tracks)
    if len(genres) < 2:
        raise PipelineInputError(f"Fewer than two genres have {min_tracks} tracks: {dict(counts)}.")
    return Catalogue([track for track in tracks if track.genre in genres], genres)


def folds(catalogue: Catalogue, count: int, seed: int) -> list[Fold]:
    """Splits a catalogue so that no artist is in two parts, and genres are as even as that allows.

    Raises:
        PipelineInputError: there are too few tracks for so many folds.
    """
    labels, artists = catalogue.labels, np.array(catalogue.artists)

    def split(indices: Indices, parts: int) -> list[tuple[Indices, Indices]]:
        splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
        found = splitter.split(indices, labels[indices], artists[indices])
        return [(indices[rest], indices[part]) for rest, part in found]

    if not 2 <= count <= min(np.bincount(labels).max(), len(set(catalogue.artists)) - 1):
        raise PipelineInputError(f"{count} folds cannot be made: there have to be two, and more artists than folds.")
    result = []
    for rest, test in split(np.arange(len(labels)), count):
        train, validation = split(rest, min(_VALIDATION_FOLDS, np.bincount(labels[rest]).max()))[0]
        result.append(Fold(train, validation, test))
    return result


class FoldData:
    """A fold as the pipeline would see it: TFRecords, and a transform graph made from the training tracks."""

    def __init__(self, examples: Sequence[bytes], fold: Fold, genres: Sequence[str], settings: Settings, folder: Path):
        """Writes the fold's files into ``folder``."""
        self._folder = folder
        for name in _PARTS:
            with tf.io.TFRecordWriter(str(folder / name)) as writer:
                for index in getattr(fold, name):
                    writer.write(examples[index])
        _analyse(str(folder / "train"), genres, settings, folder)
        self.graph = TransformGraph(str(folder / "transform"))

    def read(self, inputs: tuple[str, ...], cache: str) -> list[tf.data.Dataset]:
        """The training, validation and test tracks, transformed."""
        reader = TransformedReader(self.graph, inputs)
        return [cached_tracks(reader, [str(self._folder / name)], f"{cache}/{name}") for name in _PARTS]


def _analyse(train: str, genres: Sequence[str], settings: Settings, folder: Path) -> None:
    """Transform's work: analyses the training tracks with the project's preprocessing."""
    schema = io_utils.SchemaReader().read(settings.schema_file)
    source = tfxio.TFExampleRecord(train, schema=schema, telemetry_descriptors=["benchmark"])
    output = str(folder / "transform")
    preprocess = partial(preprocessing_fn, custom_config={"genres": list(genres)})
    with (
        beam.Pipeline(options=PipelineOptions(list(settings.beam.args))) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "tmp")),
    ):
        raw = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
        _ = raw | tft_beam.AnalyzeDataset(preprocess) | tft_beam.WriteTransformFn(output)
    raw_metadata = f"{output}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
    metadata_io.write_metadata(tft.DatasetMetadata(schema), raw_metadata)


def classical_features(track: Track) -> npt.NDArray[np.float64]:
    """Means, deviations, covariances and quantiles of the segments and of their differences, ``[features]``."""
    parts = []
    for values in (track.segments[:, :N_COEFFICIENTS], track.segments[:, N_COEFFICIENTS:]):
        deltas = np.diff(values, axis=0) if len(values) > 1 else np.zeros((1, N_COEFFICIENTS))
        covariance = np.cov(values.T, bias=True)[np.triu_indices(N_COEFFICIENTS)]
        quantiles = np.quantile(values, (0.1, 0.5, 0.9), axis=0).ravel()
        parts += [values.mean(axis=0), values.std(axis=0), covariance, quantiles, deltas.std(axis=0)]
    return np.concatenate(parts)


def classical_classifier() -> Pipeline:
    """The yardstick: a support vector machine on standardised track statistics."""
    return make_pipeline(StandardScaler(), SVC(C=10, gamma="scale"))


def cross_validate(
    catalogue: Catalogue, settings: Settings, options: Options, step: Callable[[str], None]
) -> dict[str, Result]:
    """Runs every model, and the yardstick, on every fold with every seed; one that listens if all tracks were heard.

    Args:
        catalogue: labelled tracks.
        settings: which models, with which hyper-parameters.
        options: how many folds and seeds.
        step: told what is done next.
    """
    labels, size = catalogue.labels, len(catalogue.genres)
    examples = [encode_track(track) for track in catalogue.tracks]
    features = np.stack([classical_features(track) for track in catalogue.tracks])
    heard = all(track.ear is not None for track in catalogue.tracks)
    models = [name for name in settings.training.models if heard or not MODELS[name].listens]
    results: dict[str, Result] = {name: Result() for name in (CLASSICAL, *models)}
    for seed in range(options.seeds):
        predicted = {name: np.zeros(len(labels), np.int64) for name in results}
        for number, fold in enumerate(folds(catalogue, options.folds, seed)):
            place = f"seed {seed}, fold {number + 1}"
            step(f"{place}: {CLASSICAL}")
            start, classifier = time.monotonic(), classical_classifier()
            known = np.concatenate([fold.train, fold.validation])
            classifier.fit(features[known], labels[known])
            results[CLASSICAL].seconds.append(time.monotonic() - start)
            predicted[CLASSICAL][fold.test] = classifier.predict(features[fold.test])
            with tempfile.TemporaryDirectory(prefix="deepmusic-") as folder:
                step(f"{place}: transform")
                data = FoldData(examples, fold, catalogue.genres, settings, Path(folder))
                for name in models:
                    step(f"{place}: {name}")
                    predicted[name][fold.test] = _run_fold(name, data, catalogue, settings, seed, results[name])
        for model, answers in predicted.items():
            results[model].scores.append(scores(confusion_matrix(labels, answers, size)))
    return results


def scores(confusion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Accuracy, balanced accuracy, macro F1, then each genre's F1."""
    overall = [float(score(confusion)) for score in (accuracy, balanced_accuracy, macro_f1)]
    return np.array([*overall, *genre_scores(confusion)["f1"]])


def _run_fold(
    name: ModelName, data: FoldData, catalogue: Catalogue, settings: Settings, seed: int, result: Result
) -> Indices:
    make_deterministic(seed)
    inputs = MODELS[name].inputs
    with tempfile.TemporaryDirectory(prefix="deepmusic-") as cache:
        train, validation, test = data.read(inputs, cache)
        # Read once before the clock starts: whoever fits first would pay for the others.
        for _ in train.concatenate(validation):
            pass
        if not MODELS[name].in_epochs:
            train = train.concatenate(validation)
        task = Task(train, validation, len(catalogue.genres), settings.training.balance, seed, cache)
        start = time.monotonic()
        fit = fit_model(name, task, getattr(settings.models, name).model_dump())
        result.seconds.append(time.monotonic() - start)
        answers = predict(fit.model, test).argmax(axis=1)
        if not result.parameters:
            result.parameters = fit.model.count_params()
            description = ModelDescription(name, list(catalogue.genres), listens=MODELS[name].listens)
            save(ServingModule(fit.model, inputs, data.graph, description), f"{cache}/model")
            result.milliseconds = _latency(f"{cache}/model", catalogue.tracks[:_TIMED])
    return answers


def _latency(model: str, tracks: Sequence[Track]) -> float:
    """Median milliseconds of one prediction for one track, by the exported model as TF Serving runs it."""
    times = []
    with serving_session(model) as (session, signatures):
        for track in [tracks[0], *tracks]:
            signature = signatures[ARRAYS_SIGNATURE]
            inputs = request(set(signature.inputs), [encode_track(track)])
            start = time.perf_counter()
            run_signature(session, signature, inputs or {})
            times.append(time.perf_counter() - start)
    return float(np.median(times[1:])) * 1000


def table(results: dict[str, Result], genres: Sequence[str], title: str) -> Table:
    """The results: means over the seeds, with the deviation where a score has one."""
    found = Table(title=title, title_justify="left")
    found.add_column("model", no_wrap=True)
    headings = ("accuracy", "balanced", "macro F1", *genres, "fit s", "parameters", "ms")
    for heading in headings:
        found.add_column(heading, justify="right", no_wrap=True)
    for name, result in results.items():
        mean, deviation = np.mean(result.scores, axis=0), np.std(result.scores, axis=0, ddof=len(result.scores) > 1)
        overall = [f"{m:.3f} ± {d:.3f}" for m, d in zip(mean[:3], deviation[:3], strict=True)]
        parameters = f"{result.parameters:,}" if result.parameters else "-"
        latency = "-" if np.isnan(result.milliseconds) else f"{result.milliseconds:.2f}"
        costs = (f"{np.mean(result.seconds):.1f}", parameters, latency)
        found.add_row(name, *overall, *(f"{score:.2f}" for score in mean[3:]), *costs)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; 1 if the catalogue cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark_models", description=__doc__)
    parser.add_argument("--data", required=True, help="folder of analyses")
    parser.add_argument("--labels", help="CSV with track_id,genre")
    parser.add_argument("--settings", type=Path, help="YAML file with what differs from pipeline/defaults.yaml")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 101), metavar="N")
    parser.add_argument("--min-tracks", type=int, default=20, help="genres with fewer are left out")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    parsed = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        texts = {"data.path": parsed.data, **({"data.labels": parsed.labels} if parsed.labels else {})}
        settings = load_settings(parsed.settings, parsed.assignments, texts)
        catalogue = load_catalogue(settings, parsed.min_tracks)
        options = Options(parsed.folds, parsed.seeds)
        with console.status("reading") as status:
            # Without a terminal there is nothing to update: a line a step then, beside the table.
            step = status.update if console.is_terminal else partial(print, file=sys.stderr, flush=True)
            results = cross_validate(catalogue, settings, options, step)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return 1
    title = f"{len(catalogue.tracks):,} tracks, {parsed.folds} folds by artist, {parsed.seeds} seeds (mean ± deviation)"
    console.print(table(results, catalogue.genres, title))
    return 0


if __name__ == "__main__":
    run_checkout_process(main)
