"""What TFX's Trainer calls."""

from __future__ import annotations

import logging
import os
import time
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.scoring.calibration import Calibration, fit_temperature, sure_from, with_temperature
from components.scoring.predictions import Predictions, require_finite
from components.scoring.tracks import artist_keys, first_unheard, track_table
from components.storage.files import fileio
from components.track_example_gen.splits import TEST, TRAIN, VALIDATION
from components.trainer.description import ModelDescription
from components.trainer.export import ServingModule, save
from components.trainer.fitting import PROBABILITIES, EpochLog, Task
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


def run_fn(fn_args: FnArgs) -> None:
    """Trains one model, calibrates it and exports it; passes over one that listens where a track has no sound.

    Args:
        fn_args: TFX's arguments; ``custom_config`` has ``genres``, ``model``, ``hyperparameters``, ``balance``,
            ``seed``, ``warm_start`` and ``sure_accuracy``.

    Raises:
        PipelineInputError: the loss became NaN or infinite.
    """
    config = fn_args.custom_config
    name: ModelName = config["model"]
    genres: list[str] = config["genres"]
    if MODELS[name].listens and (unheard := first_unheard(_examples_of(fn_args, TRAIN, VALIDATION, TEST))):
        _pass_over(fn_args, f"{name} is passed over: it learns from sound, and there is none of the track {unheard}")
        return
    make_deterministic(config["seed"])
    graph = TransformGraph(fn_args.transform_graph_path)
    reader = TransformedReader(graph, MODELS[name].inputs)
    folder = fn_args.model_run_dir
    fileio.makedirs(folder)
    hyperparameters = {**config["hyperparameters"], **_tuned(fn_args)}
    trained_on = track_table(raw_examples(fn_args.train_files))
    analysers = tuple(sorted(set(trained_on["analyser"].to_pylist())))
    description = ModelDescription(name, genres, analysers, MODELS[name].listens)
    begin = _start(fn_args, description) if config["warm_start"] else None
    with TemporaryDirectory() as cache:
        train = cached_tracks(reader, fn_args.train_files, f"{cache}/train")
        validation = cached_tracks(reader, fn_args.eval_files, f"{cache}/validation")
        callbacks = (EpochLog(), keras.callbacks.TensorBoard(folder))
        task = Task(
            *(train, validation, len(genres), config["balance"], config["seed"], cache, callbacks),
            artists=artist_keys(trained_on),
            start=begin,
        )
        start = time.monotonic()
        fit = fit_model(name, task, hyperparameters)
        seconds = time.monotonic() - start
        probabilities = require_finite(predict(fit.model, validation), name)
        labels = labels_of(train)
    examples = raw_examples(fn_args.eval_files)
    predictions = Predictions(tuple(genres), track_table(examples), probabilities)
    predictions.save(f"{folder}/{VALIDATION_FILE}")
    # Answers to training tracks as if their artists were not known tell more than a tenth as many of other artists.
    judged, actual = (probabilities, predictions.actual) if fit.unseen is None else (fit.unseen, labels)
    temperature = fit_temperature(judged, actual)
    sure = sure_from(with_temperature(judged, temperature), actual, config["sure_accuracy"])
    module = ServingModule(fit.model, MODELS[name].inputs, graph, description, Calibration(temperature, sure))
    save(module, fn_args.serving_model_dir)
    description.save(
        fn_args.serving_model_dir, trained_on["track_id"].to_pylist(), fit.start.trained_on if fit.start else ()
    )
    record = TrainingRecord(
        model=name,
        parameters=fit.model.count_params(),
        seconds=seconds,
        seed=config["seed"],
        hyperparameters=hyperparameters,
        temperature=temperature,
        sure_from=sure,
        listens=description.listens,
        history=fit.history,
        started_from=fit.start.origin if fit.start else None,
    )
    record.save(folder)
    reference = list(examples.take(REFERENCE_TRACKS).as_numpy_iterator())
    save_warmup(fn_args.serving_model_dir, reference[:_WARMUP_TRACKS], listens=description.listens)
    answers = with_temperature(probabilities[:REFERENCE_TRACKS], temperature).astype(np.float32)
    save_reference(folder, reference, answers)


def make_deterministic(seed: int) -> None:
    """Makes equal seeds give equal weights, at no cost on a CPU."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _start(fn_args: FnArgs, wanted: ModelDescription) -> Start | None:
    held_out = track_table(_examples_of(fn_args, VALIDATION, TEST))
    return start_from(fn_args.base_model, wanted, held_out["track_id"].to_pylist())


def _examples_of(fn_args: FnArgs, *splits: str) -> tf.data.Dataset:
    # TFX names the splits to train on and to validate by; the test split lies beside them.
    (train,) = fn_args.train_files
    folder = train.removesuffix(f"/Split-{TRAIN}/*")
    return raw_examples([f"{folder}/Split-{split}/*" for split in splits])


def _pass_over(fn_args: FnArgs, reason: str) -> None:
    log.info("%s", reason)
    # TFX wants the folders; whoever reads models looks for a description in the one, and for a record in the other.
    for folder in (fn_args.serving_model_dir, fn_args.model_run_dir):
        fileio.makedirs(folder)
        with fileio.open(os.path.join(folder, _PASSED_OVER), "w") as file:
            file.write(f"{reason}\n")


def _tuned(fn_args: FnArgs) -> dict[str, Any]:
    return dict(fn_args.hyperparameters["values"]) if fn_args.hyperparameters else {}


def predict(model: keras.Model, tracks: tf.data.Dataset) -> npt.NDArray[np.float32]:
    """Probabilities ``[tracks, genres]`` in the tracks' order."""
    answers = model.predict(tracks.batch(_PREDICTED_TOGETHER), verbose=0)
    return np.asarray(answers[PROBABILITIES] if isinstance(answers, dict) else answers)
