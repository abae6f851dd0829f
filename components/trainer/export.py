"""The SavedModel: raw segments or serialized examples in; genres, probabilities and whose analyses it takes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from components.scoring.calibration import SMALLEST_PROBABILITY, Calibration
from components.trainer.description import ModelDescription
from components.trainer.fitting import FAMILIARITY, PROBABILITIES
from components.trainer.input_pipeline import TransformGraph
from deepmusic_genre.tracks.track import (
    EAR_FEATURE,
    MAX_TIMBRE,
    MIN_SEGMENTS,
    N_COEFFICIENTS,
    N_EAR,
    PITCH_FEATURES,
    SEGMENT_FEATURES,
    TIMBRE_FEATURES,
)

ARRAYS_SIGNATURE = "serving_default"
"""Takes ``timbre`` and ``pitches``, float32 ``[batch, segments, 12]``; of a model that listens also ``ear``, float32
``[batch, 400]``."""

EXAMPLES_SIGNATURE = "serving_examples"
"""Takes ``examples``, serialized tf.Examples as TrackExampleGen writes them; only the coefficients are needed."""

SURE = "sure"
"""Output: whether an answer is right as often as was asked for, and the track is like those trained on."""

UNFAMILIAR = 0.02
"""Share of the training tracks below which a track's familiarity keeps its answer from being sure."""

_NO_NUMBER = float("nan")
_LIMITS = {
    **dict.fromkeys(TIMBRE_FEATURES, (-MAX_TIMBRE, MAX_TIMBRE)),
    **dict.fromkeys(PITCH_FEATURES, (0.0, 1.0)),
}


class ServingModule(tf.Module):
    """A trained network with the preprocessing in front of it.

    TF Serving loads a SavedModel through a TF1 session. There a Keras 3 model that is an attribute of the module has
    no variables; so it stays in closures, and the module tracks the variables themselves. The preprocessing stays in
    closures too: it holds constants only, and a tracked Keras 2 layer would be traced once more for seconds.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: Sequence[str],
        graph: TransformGraph,
        description: ModelDescription,
        calibration: Calibration = Calibration(),  # noqa: B008 - it cannot be changed
    ) -> None:
        """Wraps a model.

        Args:
            model: from a dictionary of transformed features to probabilities ``[batch, genres]``, or to a dictionary of
                these and of the familiarity ``[batch]``.
            inputs: the names of these features.
            graph: the preprocessing.
            description: the genres' names, and whose analyses the model takes.
            calibration: what is done with the probabilities.
        """
        super().__init__()
        self._variables = [variable.value for variable in model.variables]
        # What a later training starts from: without the random seeds' states.
        self.weights = [variable.value for variable in model.weights]
        self._genres = tf.constant(description.genres)
        self._analyser = tf.constant(",".join(description.analysers))
        sound = (EAR_FEATURE,) if description.listens else ()
        serving_spec = {name: graph.raw_spec[name] for name in (*SEGMENT_FEATURES, *sound)}

        def answer(raw: Mapping[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
            usable, features = only_usable({name: raw[name] for name in SEGMENT_FEATURES})
            for name in sound:
                usable &= is_heard(raw[name])
                features[name] = raw[name]
            transformed = graph.layer(features)
            outputs = model({name: transformed[name] for name in inputs}, training=False)
            outputs = outputs if isinstance(outputs, dict) else {PROBABILITIES: outputs}
            logits = tf.math.log(tf.maximum(outputs[PROBABILITIES], SMALLEST_PROBABILITY))
            probabilities = tf.nn.softmax(logits / calibration.temperature + (calibration.prior_shift or 0.0))
            return self._answer(usable, probabilities, outputs.get(FAMILIARITY), calibration.sure_from)

        arrays = [_segments_spec("timbre"), _segments_spec("pitches"), *map(_ear_spec, sound)]

        @tf.function(autograph=False, input_signature=arrays)
        def from_arrays(timbre: tf.Tensor, pitches: tf.Tensor, *heard: tf.Tensor) -> dict[str, tf.Tensor]:
            ragged = map(tf.RaggedTensor.from_tensor, heard)
            return answer({**raw_features(timbre, pitches), **dict(zip(sound, ragged, strict=True))})

        @tf.function(autograph=False, input_signature=[_examples_spec()])
        def from_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(tf.io.parse_example(examples, serving_spec))

        self.functions = {ARRAYS_SIGNATURE: from_arrays, EXAMPLES_SIGNATURE: from_examples}

    def _answer(
        self, usable: tf.Tensor, probabilities: tf.Tensor, familiarity: tf.Tensor | None, sure_from: float
    ) -> dict[str, tf.Tensor]:
        best = tf.argmax(probabilities, axis=1)
        highest = tf.reduce_max(probabilities, axis=1)
        sure = usable & (highest >= sure_from)
        answer = {
            "genre": tf.where(usable, tf.gather(self._genres, best), ""),
            "probability": tf.where(usable, highest, _NO_NUMBER),
            "genres": tf.broadcast_to(self._genres, tf.shape(probabilities)),
            PROBABILITIES: tf.where(usable[:, tf.newaxis], probabilities, _NO_NUMBER),
            "analyser": tf.fill(tf.shape(best), self._analyser),
        }
        if familiarity is not None:
            answer[FAMILIARITY] = tf.where(usable, familiarity, 0.0)
            sure &= familiarity >= UNFAMILIAR
        return {**answer, SURE: sure}


def only_usable(raw: Mapping[str, tf.RaggedTensor]) -> tuple[tf.Tensor, dict[str, tf.RaggedTensor]]:
    """Tells the tracks that can be answered: the others would spoil a batch.

    Args:
        raw: a ragged ``[batch, segments]`` a coefficient.

    Returns:
        Whether a track has three segments or more, the same number of every coefficient, only numbers that timbre and
        pitches can have, and not zeros alone, bool ``[batch]``; and the raw features, without segments where it has
        not.
    """
    # All coefficients at once: with ragged operations for each, the graph takes ten times as long to load.
    splits = tf.stack([coefficient.row_splits for coefficient in raw.values()])
    lengths = splits[:, 1:] - splits[:, :-1]
    values = tf.concat([coefficient.flat_values for coefficient in raw.values()], axis=0)
    ends = tf.cumsum(tf.reshape(lengths, [-1]))
    rows = tf.searchsorted(ends, tf.range(tf.size(values, tf.int64)), side="right")

    def in_every_row(fits: tf.Tensor) -> tf.Tensor:
        """Whether something holds for all values of a coefficient of a track: ``[coefficients, batch]``."""
        lowest = tf.math.unsorted_segment_min(tf.cast(fits, tf.int32), rows, tf.size(ends))
        return tf.reshape(lowest > 0, tf.shape(lengths))

    complete = tf.reduce_all(lengths == lengths[0], axis=0) & (lengths[0] >= MIN_SEGMENTS)
    limits = tf.gather([_LIMITS[name] for name in raw], rows // tf.size(lengths[0]))
    # Not a number is not within the limits either.
    possible = tf.reduce_all(in_every_row((limits[:, 0] <= values) & (values <= limits[:, 1])), axis=0)
    usable = complete & possible & ~tf.reduce_all(in_every_row(values == 0), axis=0)
    kept = tf.gather(tf.tile(usable, [len(raw)]), rows)
    coefficients = tf.unstack(tf.reshape(tf.boolean_mask(values, kept), [len(raw), -1]))
    row_splits = tf.concat([[0], tf.cumsum(tf.where(usable, lengths[0], 0))], axis=0)
    return usable, {
        name: tf.RaggedTensor.from_row_splits(coefficient, row_splits, validate=False)
        for name, coefficient in zip(raw, coefficients, strict=True)
    }


def is_heard(ear: tf.RaggedTensor) -> tf.Tensor:
    """Tells the tracks with what a network hears in them.

    Args:
        ear: ragged ``[batch, values]``.

    Returns:
        Whether a track has 400 values, all of them finite, and not zeros alone, bool ``[batch]``.
    """
    finite = tf.reduce_all(tf.math.is_finite(ear), axis=1)
    return (ear.row_lengths() == N_EAR) & finite & tf.reduce_any(ear != 0, axis=1)


def raw_features(timbre: tf.Tensor, pitches: tf.Tensor) -> dict[str, tf.RaggedTensor]:
    """Segments as an array to the raw features that the preprocessing reads.

    Args:
        timbre, pitches: float32 ``[batch, segments, 12]``; zero-filled segments at the end are padding.

    Returns:
        A ragged ``[batch, segments]`` a coefficient, without the padding.
    """
    segments = tf.concat([timbre, pitches], axis=2)
    filled = tf.reduce_any(segments != 0, axis=2)
    places = tf.range(1, tf.shape(segments)[1] + 1)
    lengths = tf.reduce_max(tf.where(filled, places, 0), axis=1)
    ragged = tf.RaggedTensor.from_tensor(segments, lengths=tf.cast(lengths, tf.int64))
    return {
        name: ragged.with_flat_values(coefficient)
        for name, coefficient in zip(SEGMENT_FEATURES, tf.unstack(ragged.flat_values, axis=1), strict=True)
    }


def save(module: ServingModule, folder: str) -> None:
    """Writes the module as a SavedModel with its signatures."""
    tf.saved_model.save(module, folder, signatures=module.functions)


def _segments_spec(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, None, N_COEFFICIENTS], tf.float32, name)


def _ear_spec(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, N_EAR], tf.float32, name)


def _examples_spec() -> tf.TensorSpec:
    return tf.TensorSpec([None], tf.string, "examples")
