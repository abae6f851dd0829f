"""What TFX's Trainer calls."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.io import fileio

from components.errors import PipelineInputError
from components.trainer.export import ServingModule, save
from components.trainer.genres import save_genres
from components.trainer.input_pipeline import (
    Batching,
    TransformedReader,
    TransformGraph,
    raw_examples,
    training_batches,
)
from components.trainer.models import MODELS
from components.trainer.reference import REFERENCE_TRACKS, save_reference

HISTORY_FILE = "history.json"

log = logging.getLogger("deepmusic.Trainer")


def run_fn(fn_args: FnArgs) -> None:
    """Trains one network and exports it.

    Args:
        fn_args: TFX's arguments; ``custom_config`` has ``genres`` and ``training``, the settings of that name.

    Raises:
        PipelineInputError: the loss is no number any more.
    """
    config = fn_args.custom_config
    training = config["training"]
    # Equal seeds give equal weights, at no cost on a CPU.
    keras.utils.set_random_seed(training["seed"])
    tf.config.experimental.enable_op_determinism()
    definition = MODELS[training["model"]]
    graph = TransformGraph(fn_args.transform_output)
    fileio.makedirs(fn_args.model_run_dir)
    reader = TransformedReader(graph, definition.inputs)
    model = definition.build(len(config["genres"]))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    log.info("%s, %s parameters", training["model"], f"{model.count_params():,}")

    batches = training_batches(
        reader,
        fn_args.train_files,
        fn_args.eval_files,
        Batching(training["batch_size"], training["seed"]),
        fn_args.model_run_dir,
    )
    with batches as (train, validation):
        history = model.fit(
            train,
            validation_data=validation,
            epochs=training["epochs"],
            callbacks=_callbacks(training, fn_args.model_run_dir),
            verbose=0,
        )
    _require_finite(history.history)
    _write_history(history.history, fn_args.model_run_dir)
    save(ServingModule(model, definition.inputs, graph, config["genres"]), fn_args.serving_model_dir)
    save_genres(fn_args.serving_model_dir, config["genres"])
    _write_reference(model, reader, fn_args)


class _EpochLog(keras.callbacks.Callback):
    """One line an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        log.info(
            "epoch %3d  loss %.3f  accuracy %.3f  validation loss %.3f  validation accuracy %.3f",
            epoch + 1,
            *((logs or {})[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")),
        )


def _callbacks(training: dict[str, Any], folder: str) -> list[keras.callbacks.Callback]:
    return [
        _EpochLog(),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", min_delta=training["min_delta"], patience=training["patience"]
        ),
        keras.callbacks.TensorBoard(folder),
    ]


def _require_finite(history: dict[str, list[float]]) -> None:
    losses = np.array(history["loss"] + history.get("val_loss", []))
    if not np.isfinite(losses).all():
        raise PipelineInputError(
            f"Training diverged in epoch {len(history['loss'])}: the loss is no number any more. Nothing was exported."
        )


def _write_history(history: dict[str, list[float]], folder: str) -> None:
    with fileio.open(os.path.join(folder, HISTORY_FILE), "w") as file:
        file.write(json.dumps({name: [float(value) for value in values] for name, values in history.items()}, indent=1))


def _write_reference(model: keras.Model, reader: TransformedReader, fn_args: FnArgs) -> None:
    """Keeps the network's own answers for some tracks, for comparing the exported model's with."""
    features, _ = next(iter(reader.read(fn_args.eval_files).batch(REFERENCE_TRACKS)))
    examples = raw_examples(fn_args.eval_files).take(REFERENCE_TRACKS).as_numpy_iterator()
    save_reference(fn_args.model_run_dir, list(examples), model.predict(features, verbose=0))
