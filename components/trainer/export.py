"""The SavedModel: raw segments or serialized examples in; genres, probabilities and whose analyses it takes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from components.scoring.calibration import SMALLEST_PROBABILITY
from components.trainer.description import ModelDescription
from components.trainer.input_pipeline import TransformGraph
from deepmusic_genre.tracks.track import N_COEFFICIENTS, SEGMENT_FEATURES

ARRAYS_SIGNATURE = "serving_default"
"""Takes ``timbre`` and ``pitches``, float32 ``[batch, segments, 12]``."""

EXAMPLES_SIGNATURE = "serving_examples"
"""Takes ``examples``, serialized tf.Examples as TrackExampleGen writes them; only the coefficients are needed."""


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
        temperature: float = 1.0,
    ) -> None:
        """Wraps a model.

        Args:
            model: from a dictionary of transformed features to probabilities ``[batch, genres]``.
            inputs: the names of these features.
            graph: the preprocessing.
            description: the genres' names, and whose analyses the model takes.
            temperature: what the logits are divided by, see :mod:`components.scoring.calibration`.
        """
        super().__init__()
        self._variables = [variable.value for variable in model.variables]
        # What a later training starts from: without the random seeds' states.
        self.weights = [variable.value for variable in model.weights]
        self._genres = tf.constant(description.genres)
        self._analyser = tf.constant(",".join(description.analysers))
        serving_spec = {name: graph.raw_spec[name] for name in SEGMENT_FEATURES}

        def answer(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            transformed = graph.layer(raw)
            probabilities = model({name: transformed[name] for name in inputs}, training=False)
            logits = tf.math.log(tf.maximum(probabilities, SMALLEST_PROBABILITY))
            return self._answer(tf.nn.softmax(logits / temperature))

        @tf.function(autograph=False, input_signature=[_segments_spec("timbre"), _segments_spec("pitches")])
        def from_arrays(timbre: tf.Tensor, pitches: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(raw_features(timbre, pitches))

        @tf.function(autograph=False, input_signature=[_examples_spec()])
        def from_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(tf.io.parse_example(examples, serving_spec))

        self.functions = {ARRAYS_SIGNATURE: from_arrays, EXAMPLES_SIGNATURE: from_examples}

    def _answer(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        best = tf.argmax(probabilities, axis=1)
        names = tf.broadcast_to(self._genres, tf.shape(probabilities))
        return {
            "genre": tf.gather(self._genres, best),
            "probability": tf.reduce_max(probabilities, axis=1),
            "genres": names,
            "probabilities": probabilities,
            "analyser": tf.fill(tf.shape(best), self._analyser),
        }


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


def _examples_spec() -> tf.TensorSpec:
    return tf.TensorSpec([None], tf.string, "examples")
