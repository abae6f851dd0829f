"""What TFX's Trainer calls."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.sampler.natural import load_natural_counts
from components.scoring.calibration import Calibration, Unseen, calibrate, prior_shift
from components.scoring.predictions import Predictions, require_finite
from components.scoring.scores import Indices
from components.scoring.tracks import artist_keys, first_unheard, track_table
from components.storage.files import fileio
from components.track_example_gen.splits import SPLITS, TEST, TRAIN, VALIDATION
from components.trainer.description import ModelDescription
from components.trainer.export import ServingModule, save
from components.trainer.fitting import PROBABILITIES, EpochLog, Fit, Task
from components.trainer.hyperparameters import Balance
from components.trainer.input_pipeline import TransformedReader, TransformGraph, cached_tracks, labels_of, raw_examples
from components.trainer.record import VALIDATION_FILE, TrainingRecord
from components.trainer.reference import REFERENCE_TRACKS, save_reference
from components.trainer.registry import MODELS, ModelName, fit_model
from components.trainer.warm_start import Start, start_from
from components.trainer.warmup import save_warmup

_PREDICTED_TOGETHER = 64
_WARMUP_TRACKS = 2
_PASSED_OVER = "passed_over.txt"

log = logging.getLogger("deepmusic.Trainer")


@dataclass(frozen=True)
class Plan:
    """What is fitted, and how.

    Attributes:
        genres: in the order of the class index.
        hyperparameters: by name.
        seed: of all random draws.
        sure_accuracy: how often an answer that is called sure has to be right, 0..1.
    """

    model: ModelName
    genres: Sequence[str]
    hyperparameters: Mapping[str, Any]
    balance: Balance
    seed: int
    sure_accuracy: float


@dataclass(frozen=True)
class Places:
    """Folders: of the transform graph, and where the SavedModel and what is known of the training go."""

    transform_graph: str
    model: str
    run: str


def run_fn(fn_args: FnArgs) -> None:
    """Trains one model, calibrates it and exports it; passes over one that listens where a track has no sound.

    Args:
        fn_args: TFX's arguments; ``custom_config`` has ``genres``, ``model``, ``hyperparameters``, ``balance``,
            ``seed``, ``warm_start`` and ``sure_accuracy``.

    Raises:
        PipelineInputError: the loss became NaN or infinite.
    """
    config = fn_args.custom_config
    plan = Plan(
        model=config["model"],
        genres=config["genres"],
        hyperparameters={**config["hyperparameters"], **_tuned(fn_args)},
        balance=config["balance"],
        seed=config["seed"],
        sure_accuracy=config["sure_accuracy"],
    )
    places = Places(fn_args.transform_graph_path, fn_args.serving_model_dir, fn_args.model_run_dir)
    if unheard := unheard_by(plan.model, fn_args):
        _pass_over(
            places, f"{plan.model} is passed over: it learns from sound, and there is none of the track {unheard}"
        )
        return
    make_deterministic(plan.seed)
    held_out = raw_examples(fn_args.eval_files)
    tables = {TRAIN: track_table(raw_examples(fn_args.train_files))}
    begin = _start(fn_args, _description(plan, tables)) if config["warm_start"] else None
    graph = TransformGraph(places.transform_graph)
    reader = TransformedReader(graph, MODELS[plan.model].inputs)
    fileio.makedirs(places.run)
    with TemporaryDirectory() as cache:
        train = cached_tracks(reader, fn_args.train_files, f"{cache}/train")
        validation = cached_tracks(reader, fn_args.eval_files, f"{cache}/validation")
        callbacks = (EpochLog(), keras.callbacks.TensorBoard(places.run))
        task = Task(
            *(train, validation, len(plan.genres), plan.balance, plan.seed, cache, callbacks),
            artists=artist_keys(tables[TRAIN]),
            start=begin,
        )
        trained = _fit(plan, task, tables)
        probabilities = require_finite(predict(trained.fit.model, validation), plan.model)
    predictions = Predictions(tuple(plan.genres), track_table(held_out), probabilities)
    predictions.save(f"{places.run}/{VALIDATION_FILE}")
    unseen = _unseen(trained, predictions, load_natural_counts(_examples_folder(fn_args)))
    _export(trained, places, graph, calibrate(unseen, plan.sure_accuracy), (held_out, probabilities))


def refit(plan: Plan, places: Places, examples: str) -> TrainingRecord:
    """Fits a model to every track, calibrates it and exports it.

    Args:
        plan: of a model that is not trained in epochs, and so needs no held-out tracks.
        places: where from and where to.
        examples: the folder of an Examples artifact.

    Returns:
        What is known of the training.
    """
    make_deterministic(plan.seed)
    files = {split: [f"{examples}/Split-{split}/*"] for split in SPLITS}
    tables = {split: track_table(raw_examples(patterns)) for split, patterns in files.items()}
    graph = TransformGraph(places.transform_graph)
    reader = TransformedReader(graph, MODELS[plan.model].inputs)
    with TemporaryDirectory() as cache:
        splits = {split: cached_tracks(reader, patterns, f"{cache}/{split}") for split, patterns in files.items()}
        everything = reduce(tf.data.Dataset.concatenate, splits.values())
        task = Task(
            *(everything, everything.take(0), len(plan.genres), plan.balance, plan.seed, cache),
            artists=artist_keys(pa.concat_tables(tables.values())),
        )
        trained = _fit(plan, task, tables)
        answers = predict(trained.fit.model, splits[TRAIN].take(REFERENCE_TRACKS))
    if trained.fit.unseen is None:
        raise ValueError(f"{plan.model} cannot be calibrated without held-out tracks")
    fileio.makedirs(places.run)
    calibration = calibrate(Unseen(trained.fit.unseen, trained.labels), plan.sure_accuracy)
    reference = raw_examples(files[TRAIN]), require_finite(answers, plan.model)
    return _export(trained, places, graph, calibration, reference)


@dataclass(frozen=True, eq=False)
class _Trained:
    """A fitted model, how long that took in seconds, and what it learned from: class indices, and tables by split."""

    plan: Plan
    fit: Fit
    seconds: float
    labels: Indices
    tables: dict[str, pa.Table]


def _fit(plan: Plan, task: Task, tables: dict[str, pa.Table]) -> _Trained:
    start = time.monotonic()
    fit = fit_model(plan.model, task, dict(plan.hyperparameters))
    return _Trained(plan, fit, time.monotonic() - start, labels_of(task.train), tables)


def _unseen(trained: _Trained, validation: Predictions, natural: Mapping[str, int] | None) -> Unseen:
    """Answers to tracks of artists that the model does not know."""
    genres = trained.plan.genres
    learned = np.bincount(trained.labels, minlength=len(genres))
    shift = prior_shift(np.array([natural.get(genre, 0) for genre in genres]), learned) if natural else ()
    if trained.fit.unseen is None:
        return Unseen(validation.probabilities, validation.actual, shift)
    # Answers to training tracks as if their artists were not known tell more than a tenth as many of other artists.
    weights = np.exp(shift)[trained.labels] if shift else None
    return Unseen(trained.fit.unseen, trained.labels, shift, weights)


def _export(
    trained: _Trained,
    places: Places,
    graph: TransformGraph,
    calibration: Calibration,
    reference: tuple[tf.data.Dataset, npt.NDArray[np.float32]],
) -> TrainingRecord:
    """Writes the SavedModel and the record; ``reference`` are serialized tracks and the model's answers to them."""
    plan, fit = trained.plan, trained.fit
    description = _description(plan, trained.tables)
    save(ServingModule(fit.model, MODELS[plan.model].inputs, graph, description, calibration), places.model)
    ids = [track_id for table in trained.tables.values() for track_id in table["track_id"].to_pylist()]
    description.save(places.model, ids, fit.start.trained_on if fit.start else ())
    right = None if fit.unseen is None else fit.unseen.argmax(axis=1) == trained.labels
    record = TrainingRecord(
        model=plan.model,
        parameters=fit.model.count_params(),
        seconds=trained.seconds,
        seed=plan.seed,
        hyperparameters=dict(plan.hyperparameters),
        temperature=calibration.temperature,
        sure_from=calibration.sure_from,
        prior_shift=calibration.prior_shift,
        listens=description.listens,
        history=fit.history,
        started_from=fit.start.origin if fit.start else None,
        learned_from={split: table.num_rows for split, table in trained.tables.items()},
        unseen_accuracy=None if right is None else float(right.mean()),
    )
    record.save(places.run)
    tracks, probabilities = reference
    examples = list(tracks.take(REFERENCE_TRACKS).as_numpy_iterator())
    save_warmup(places.model, examples[:_WARMUP_TRACKS], listens=description.listens)
    save_reference(places.run, examples, calibration.of(probabilities[:REFERENCE_TRACKS]).astype(np.float32))
    return record


def _description(plan: Plan, tables: Mapping[str, pa.Table]) -> ModelDescription:
    analysers = {analyser for table in tables.values() for analyser in table["analyser"].to_pylist()}
    return ModelDescription(plan.model, list(plan.genres), tuple(sorted(analysers)), MODELS[plan.model].listens)


def make_deterministic(seed: int) -> None:
    """Makes equal seeds give equal weights, at no cost on a CPU."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _examples_folder(fn_args: FnArgs) -> str:
    # TFX names the splits to train on and to validate by; the test split lies beside them.
    (train,) = fn_args.train_files
    return str(train.removesuffix(f"/Split-{TRAIN}/*"))


def _examples_of(fn_args: FnArgs, *splits: str) -> tf.data.Dataset:
    folder = _examples_folder(fn_args)
    return raw_examples([f"{folder}/Split-{split}/*" for split in splits])


def _start(fn_args: FnArgs, wanted: ModelDescription) -> Start | None:
    held_out = track_table(_examples_of(fn_args, VALIDATION, TEST))
    return start_from(fn_args.base_model, wanted, held_out["track_id"].to_pylist())


def unheard_by(name: ModelName, fn_args: FnArgs) -> str | None:
    """The id of a track for which a model is passed over, as it listens and there is no sound; else None."""
    return first_unheard(_examples_of(fn_args, TRAIN, VALIDATION, TEST)) if MODELS[name].listens else None


def _pass_over(places: Places, reason: str) -> None:
    log.info("%s", reason)
    # TFX wants the folders; whoever reads models looks for a description in the one, and for a record in the other.
    for folder in (places.model, places.run):
        fileio.makedirs(folder)
        with fileio.open(os.path.join(folder, _PASSED_OVER), "w") as file:
            file.write(f"{reason}\n")


def _tuned(fn_args: FnArgs) -> dict[str, Any]:
    return dict(fn_args.hyperparameters["values"]) if fn_args.hyperparameters else {}


def predict(model: keras.Model, tracks: tf.data.Dataset) -> npt.NDArray[np.float32]:
    """Probabilities ``[tracks, genres]`` in the tracks' order."""
    answers = model.predict(tracks.batch(_PREDICTED_TOGETHER), verbose=0)
    return np.asarray(answers[PROBABILITIES] if isinstance(answers, dict) else answers)
