"""A SavedModel as TF Serving sees it: in a TF1 session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deepmusic_genre.tracks.track import EAR_FEATURE, N_EAR, PITCH_FEATURES, TIMBRE_FEATURES

Signature = Any  # tensorflow.core.protobuf.meta_graph_pb2.SignatureDef, which has no types.

ARRAYS = {"timbre", "pitches"}
"""Inputs of a signature that takes arrays; that of a model that listens takes ``ear``, too."""

_PREDICTED_TOGETHER = 64


@contextmanager
def serving_session(folder: str) -> Iterator[tuple[tf.compat.v1.Session, Mapping[str, Signature]]]:
    """Loads the SavedModel in a folder, for as long as the context lasts.

    Yields:
        The session, and the signatures by name, without SavedModel's own.
    """
    graph = tf.Graph()
    # Neither is made the default: whoever uses the session may go on reading data eagerly.
    with closing(tf.compat.v1.Session(graph=graph)) as session:
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], folder)
        yield session, {name: found for name, found in meta_graph.signature_def.items() if not name.startswith("__")}


def run_signature(
    session: tf.compat.v1.Session, signature: Signature, inputs: Mapping[str, Any]
) -> dict[str, npt.NDArray[Any]]:
    """A signature's outputs by name; raises tf.errors.OpError where it fails."""
    return session.run(
        {name: tensor.name for name, tensor in signature.outputs.items()},
        {signature.inputs[name].name: value for name, value in inputs.items()},
    )


def predict_examples(folder: str, signature: str, examples: tf.data.Dataset) -> npt.NDArray[np.float32]:
    """Probabilities ``[tracks, genres]`` for a dataset of serialized tf.Examples, in their order.

    Args:
        folder: the SavedModel.
        signature: one that takes ``examples``.
        examples: at least one.
    """
    with serving_session(folder) as (session, signatures):
        answers = [
            run_signature(session, signatures[signature], {"examples": batch})["probabilities"]
            for batch in examples.batch(_PREDICTED_TOGETHER).as_numpy_iterator()
        ]
    return np.concatenate(answers)


def request(names: Set[str], examples: Sequence[bytes]) -> dict[str, Any] | None:
    """The examples in the form that inputs of these names take, None where no form fits."""
    if names == {"examples"}:
        return {"examples": list(examples)}
    if names - {EAR_FEATURE} != ARRAYS:
        return None
    parsed = [tf.train.Example.FromString(example).features.feature for example in examples]
    arrays = {"timbre": _padded(parsed, TIMBRE_FEATURES), "pitches": _padded(parsed, PITCH_FEATURES)}
    return {**arrays, EAR_FEATURE: _ears(parsed)} if EAR_FEATURE in names else arrays


def _ears(parsed: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float32]:
    """``[batch, 400]``, zeros for a track without."""
    absent = np.zeros(N_EAR, np.float32)
    ears = [features[EAR_FEATURE].float_list.value if EAR_FEATURE in features else absent for features in parsed]
    return np.array(ears, np.float32)


def _padded(parsed: Sequence[Mapping[str, Any]], names: Sequence[str]) -> npt.NDArray[np.float32]:
    tracks = [np.array([features[name].float_list.value for name in names], np.float32).T for features in parsed]
    longest = max(map(len, tracks))
    return np.stack([np.pad(track, ((0, longest - len(track)), (0, 0))) for track in tracks])
