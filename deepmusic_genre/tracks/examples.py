"""Tracks as serialized tf.Examples, without TensorFlow: one encoder for the pipeline and for clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from deepmusic_genre.tracks.track import EAR_FEATURE, FACTS, SEGMENT_FEATURES, Track

# tf.train.Example, field by field, except that FloatList.value is `bytes`: on the wire a packed repeated float is the
# little-endian bytes of a float32 array with their length in front, so that a coefficient is one copy of memory.
_WIRE_COMPATIBLE = """
name: "deepmusic/example.proto"
package: "deepmusic"
syntax: "proto3"
message_type {
  name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "FloatList"
  field { name: "value" number: 1 label: LABEL_OPTIONAL type: TYPE_BYTES }
}
message_type {
  name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature"
  field { name: "bytes_list" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".deepmusic.BytesList" }
  field { name: "float_list" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".deepmusic.FloatList" }
  field { name: "int64_list" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".deepmusic.Int64List" }
}
message_type {
  name: "Features"
  field {
    name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".deepmusic.Features.FeatureEntry"
  }
  nested_type {
    name: "FeatureEntry"
    options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".deepmusic.Feature" }
  }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".deepmusic.Features" }
}
"""


def _example_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_WIRE_COMPATIBLE, descriptor_pb2.FileDescriptorProto()))
    descriptor = pool.FindMessageTypeByName("deepmusic.Example")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # The protobuf 3.20 that TFX 1.16 is held to.
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


_Example = _example_class()


def encode_track(track: Track, max_segments: int | None = None) -> bytes:
    """Serializes a track with all that is known of it; equal tracks give equal bytes.

    Each timbre coefficient and each pitch class is a feature of its own, with one value a segment, so that
    statistics, anomalies and drift are seen per coefficient. An empty text is a feature without a value. An unknown
    audio feature is absent.

    Args:
        track: what to encode.
        max_segments: keep only so many segments, from the start; None keeps all. ``num_segments`` still tells how
            many there were.

    Returns:
        A tf.Example, its features in alphabetical order.
    """
    example = _with_segments(track.segments[:max_segments], track.ear)
    features = example.features.feature
    for name, of_type in FACTS.items():
        _set(features[name], of_type, getattr(track, name))
    for name, value in track.audio_features.items():
        _set(features[name], float, value)
    return _serialized(example)


def _set(feature: Any, of_type: type, value: Any) -> None:
    if of_type is float:
        feature.float_list.value = np.array(value, "<f4").tobytes()
    elif of_type is int:
        feature.int64_list.value.append(value)
    # Named even where there is no text: so every file of examples has every feature.
    elif value:
        feature.bytes_list.value.append(value.encode())


def encode_segments(segments: npt.NDArray[np.float32], ear: npt.NDArray[np.float32] | None = None) -> bytes:
    """Serializes what a model reads of a track, and nothing that tells whose it is.

    Args:
        segments: Float32 ``[segments, 24]``.
        ear: Float32 ``[400]``, None where there is none.

    Returns:
        A tf.Example.
    """
    return _serialized(_with_segments(segments, ear))


def _with_segments(segments: npt.NDArray[np.float32], ear: npt.NDArray[np.float32] | None) -> Any:
    example = _Example()
    features = example.features.feature
    coefficients = np.ascontiguousarray(segments.T, "<f4")
    for name, values in zip(SEGMENT_FEATURES, coefficients, strict=True):
        features[name].float_list.value = values.tobytes()
    if ear is not None:
        features[EAR_FEATURE].float_list.value = np.ascontiguousarray(ear, "<f4").tobytes()
    return example


def _serialized(example: Any) -> bytes:
    return bytes(example.SerializeToString(deterministic=True))
