"""Tracks in requests. A model answers anything with a genre, so only tracks may reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from deepmusic_genre.tracks.examples import encode_segments
from deepmusic_genre.tracks.track import EAR_FEATURE, SEGMENT_FEATURES
from serving.server.errors import invalid
from serving.server.signatures import Signature, Tensors

TRACK_INPUTS = {"serving_default": {"timbre", "pitches"}, "serving_examples": {"examples"}}
"""The signatures that answer tracks with their genres, and the inputs of each; arrays of a model that listens are with
:data:`~deepmusic_genre.tracks.track.EAR_FEATURE`, too."""

_NAMES = f"{SEGMENT_FEATURES[0]} to {SEGMENT_FEATURES[-1]}"


def are_tracks(signature: Signature) -> bool:
    """Whether a signature is asked about tracks."""
    return TRACK_INPUTS.get(signature.name) == set(signature.inputs) - {EAR_FEATURE}


def listens(signatures: Mapping[str, Signature]) -> bool:
    """Whether a model reads what a network hears in a track, by its signatures."""
    return any(EAR_FEATURE in signature.inputs for signature in signatures.values())


def check_tracks(signature: Signature, tensors: Tensors) -> None:
    """Checks that a request for genres holds tracks with segments.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` naming the first that is not a track.
    """
    if not are_tracks(signature):
        return
    if "examples" in tensors:
        for place, example in enumerate(tensors["examples"].ravel().tolist()):
            if fault := _fault(example):
                raise invalid(f"examples[{place}] {fault}")
        return
    timbre, pitches = tensors["timbre"], tensors["pitches"]
    if timbre.shape != pitches.shape:
        raise invalid(f"timbre has the shape {list(timbre.shape)}, and pitches {list(pitches.shape)}")
    empty = ~(timbre.any(axis=(1, 2)) | pitches.any(axis=(1, 2)))
    if empty.any():
        raise invalid(f"track {int(empty.argmax())} has no segment that is not zero")


def track_examples(tensors: Tensors) -> Iterator[bytes]:
    """The tracks of a request: tf.Examples as they came, arrays as the tf.Examples that they stand for."""
    if "examples" in tensors:
        yield from tensors["examples"].ravel().tolist()
        return
    tracks = np.concatenate([tensors["timbre"], tensors["pitches"]], axis=2)
    for segments, ear in zip(tracks, tensors.get(EAR_FEATURE, [None] * len(tracks)), strict=True):
        filled = np.flatnonzero(segments.any(axis=1))
        yield encode_segments(segments[: filled[-1] + 1], ear)  # Zeros at the end are padding.


def _fault(example: bytes) -> str | None:
    """Why a serialized tf.Example is no track."""
    try:
        features = tf.train.Example.FromString(example).features.feature
    except DecodeError:
        return "is not a serialized tf.Example"
    missing = next((name for name in SEGMENT_FEATURES if name not in features), None)
    if missing:
        return f"has no feature {missing}: a track has the features {_NAMES}, a float a segment each"
    lengths = {name: _length(features[name]) for name in SEGMENT_FEATURES}
    if not any(lengths.values()):
        return f"has no segment: {_NAMES} have no floats"
    if len(set(lengths.values())) > 1:
        return f"has features of different lengths: {', '.join(f'{name} {size}' for name, size in lengths.items())}"
    return None


def _length(feature: Any) -> int:
    return len(feature.float_list.value)
