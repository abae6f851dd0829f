"""What TFX's Tuner calls: a random search for hyper-parameters."""

from __future__ import annotations

import logging
from typing import Any

import keras_tuner
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components.scoring.scores import confusion_matrix, macro_f1
from components.trainer.fitting import Fit, Task
from components.trainer.hyperparameters import Range
from components.trainer.input_pipeline import TransformedReader, TransformGraph, cached_tracks, labels_of
from components.trainer.registry import MODELS, ModelName, fit_model
from components.trainer.run import make_deterministic, predict, unheard_by
from deepmusic_genre.errors import PipelineInputError

OBJECTIVE = "validation_macro_f1"

log = logging.getLogger("deepmusic.Tuner")


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Makes a search over the space of one model.

    Args:
        fn_args: TFX's arguments; ``custom_config`` as for :func:`components.trainer.run.run_fn`, with ``trials``.
    """
    config = fn_args.custom_config
    name: ModelName = config["model"]
    make_deterministic(config["seed"])
    reader = TransformedReader(TransformGraph(fn_args.transform_graph_path), MODELS[name].inputs)
    train = cached_tracks(reader, fn_args.train_files, f"{fn_args.working_dir}/train")
    validation = cached_tracks(reader, fn_args.eval_files, f"{fn_args.working_dir}/validation")
    task = Task(train, validation, len(config["genres"]), config["balance"], config["seed"], fn_args.working_dir)
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        # A model that is passed over has nothing to search for, but TFX wants an outcome.
        max_trials=1 if unheard_by(name, fn_args) else config["trials"],
        seed=config["seed"],
        hyperparameters=_space_of(name),
    )
    tuner = ModelTuner(oracle, name, config["hyperparameters"], directory=fn_args.working_dir)
    return TunerFnResult(tuner=tuner, fit_kwargs={"task": task})


def _space_of(name: ModelName) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for parameter, tried in MODELS[name].space.items():
        if isinstance(tried, Range):
            space.Float(parameter, tried.low, tried.high, sampling="log" if tried.log else "linear")
        else:
            space.Choice(parameter, list(tried))
    return space


class ModelTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Fits a model anew for each trial and scores it as ModelSelector does, on the validation split."""

    def __init__(
        self, oracle: keras_tuner.Oracle, name: ModelName, settings: dict[str, Any], *, directory: str
    ) -> None:
        """Makes a tuner.

        Args:
            oracle: says what to try.
            name: the model's.
            settings: its hyper-parameters; those that are not searched for stay as they are.
            directory: for KerasTuner's own files.
        """
        super().__init__(oracle, directory=directory, project_name=name)
        self._name = name
        self._settings = settings

    def run_trial(self, trial: keras_tuner.engine.trial.Trial, task: Task) -> dict[str, float]:
        """See the base class; a training that diverges scores 0."""
        tried = trial.hyperparameters.values
        try:
            fit = fit_model(self._name, task, {**self._settings, **tried})
            score = _validation_macro_f1(fit, task)
        except PipelineInputError:
            # KerasTuner would give up after three failures, or tell nothing if all trials failed.
            score = 0.0
        listed = ", ".join(f"{name} {value:.4g}" for name, value in tried.items())
        log.info("trial %d of %d: validation macro F1 %.3f with %s", *self._progress(trial), score, listed)
        return {OBJECTIVE: score}

    def _progress(self, trial: keras_tuner.engine.trial.Trial) -> tuple[int, int]:
        return int(trial.trial_id) + 1, self.oracle.max_trials


def _validation_macro_f1(fit: Fit, task: Task) -> float:
    predicted = predict(fit.model, task.validation).argmax(axis=1)
    return float(macro_f1(confusion_matrix(labels_of(task.validation), predicted, task.num_genres)))
