"""Where a training begins: at the weights of an earlier model, or at random ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.trainer.description import ModelDescription, read_description, track_hash, trained_on

log = logging.getLogger("deepmusic.Trainer")


@dataclass(frozen=True)
class Start:
    """An earlier model.

    Attributes:
        weights: in the order of a network's own.
        origin: the folder of its SavedModel.
        trained_on: the hashes of its training tracks' ids.
    """

    weights: tuple[npt.NDArray[np.float32], ...]
    origin: str
    trained_on: frozenset[bytes]


def start_from(folder: str | None, wanted: ModelDescription, held_out: Iterable[str]) -> Start | None:
    """The start of a training, and a line that says which it is.

    Args:
        folder: the SavedModel of an earlier model with the same name and genres, None if there is none.
        wanted: what the new model will be.
        held_out: ids of the tracks of the other splits; a model that has learned from one of them would bring it along.

    Returns:
        None for a cold start.
    """
    cold = _reason_for_cold_start(folder, wanted, held_out)
    if folder is None or cold:
        log.info("starts cold: %s", cold)
        return None
    weights = tuple(variable.numpy() for variable in tf.saved_model.load(folder).weights)
    return Start(weights, folder, frozenset(trained_on(folder)))


def _reason_for_cold_start(folder: str | None, wanted: ModelDescription, held_out: Iterable[str]) -> str:
    if folder is None:
        return f"there is no blessed model {wanted.name} of these genres and of other examples"
    analysers = read_description(folder).analysers
    if analysers != wanted.analysers:
        return f"the latest blessed one learned from tracks of {', '.join(analysers)}"
    known = trained_on(folder)
    seen = sum(track_hash(track_id) in known for track_id in held_out)
    return f"the latest blessed one learned from {seen:,} tracks that are held out now" if seen else ""
