"""What the examples hold, counted in one pass whose memory does not grow with their number."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.report_gen.content import QUANTILES, SplitCounts
from components.scoring.scores import Floats, Indices
from components.storage.files import fileio
from deepmusic_genre.tracks.track import SEGMENT_FEATURES, artist_key

_TEXTS = ("genre", "artist_id", "artist")
_BATCH = 64
_BINS = 1024


class Histograms:
    """Counts of values, by genre, in equal widths of each coefficient's range."""

    def __init__(self, ranges: Floats, num_genres: int) -> None:
        """Starts at zero; ``ranges`` are the least and the largest value of each coefficient, ``[coefficients, 2]``."""
        self._edges = np.linspace(ranges[:, 0], ranges[:, 1], _BINS + 1, axis=1)
        self._counts = np.zeros((len(ranges), num_genres, _BINS), np.int64)

    def add(self, coefficient: int, genres: Indices, values: npt.NDArray[np.float32]) -> None:
        """Counts values ``[segments]`` of one coefficient; ``genres`` are the class indices of their tracks."""
        edges, counts = self._edges[coefficient], self._counts[coefficient]
        width = (edges[-1] - edges[0]) / _BINS or 1
        bins = np.clip((values - edges[0]) / width, 0, _BINS - 1).astype(np.int64)
        counts += np.bincount(genres * _BINS + bins, minlength=counts.size).reshape(counts.shape)

    def quantiles(self) -> Floats:
        """``QUANTILES`` ``[coefficients, genres, quantiles]``, to 1/1024 of the range; NaN for a genre without any."""
        return np.array(
            [
                [_quantiles(counts, edges) for counts in by_genre]
                for edges, by_genre in zip(self._edges, self._counts, strict=True)
            ]
        )


def _quantiles(counts: Indices, edges: Floats) -> Floats:
    if not counts.any():
        return np.full(len(QUANTILES), np.nan)
    return np.interp(QUANTILES, np.concatenate([[0], np.cumsum(counts)]) / counts.sum(), edges)


def count_examples(
    split_uris: Mapping[str, str], genres: Sequence[str], ranges: Floats
) -> tuple[list[SplitCounts], dict[str, dict[str, list[float]]]]:
    """Reads all examples once.

    Args:
        split_uris: the folder of each split's TFRecords.
        genres: names in the order of the class index.
        ranges: the least and the largest value of each coefficient, ``[24, 2]``.

    Returns:
        Counts of each split, and the quantiles of all splits' values by coefficient, then by genre.
    """
    histograms = Histograms(ranges, len(genres))
    index = {genre: number for number, genre in enumerate(genres)}
    splits = []
    for split, uri in split_uris.items():
        tracks: Counter[str] = Counter()
        artists: set[str] = set()
        for batch in _batches(uri):
            texts = {name: _texts(batch[name]) for name in _TEXTS}
            tracks.update(texts["genre"])
            artists.update(filter(None, map(artist_key, texts["artist_id"], texts["artist"])))
            own = np.array([index[genre] for genre in texts["genre"]], np.int64)
            for coefficient, name in enumerate(SEGMENT_FEATURES):
                segments = batch[name].value_lengths().fill_null(0).to_numpy()
                histograms.add(coefficient, np.repeat(own, segments), batch[name].flatten().to_numpy())
        splits.append(SplitCounts(split, len(artists), {genre: tracks[genre] for genre in genres}))
    return splits, _named(histograms.quantiles(), genres)


def _batches(uri: str) -> Iterator[pa.RecordBatch]:
    schema = schema_pb2.Schema()
    for name in SEGMENT_FEATURES:
        schema.feature.add(name=name, type=schema_pb2.FLOAT)
    for name in _TEXTS:
        schema.feature.add(name=name, type=schema_pb2.BYTES)
    decoder = ExamplesToRecordBatchDecoder(schema.SerializeToString())
    files = sorted(fileio.glob(os.path.join(uri, "*")))
    for records in tf.data.TFRecordDataset(files).batch(_BATCH).as_numpy_iterator():
        yield decoder.DecodeBatch(records)


def _texts(column: pa.LargeListArray) -> list[str]:
    return [values[0].decode() if values else "" for values in column.to_pylist()]


def _named(quantiles: Floats, genres: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    return {
        name: {genre: own.tolist() for genre, own in zip(genres, by_genre, strict=True) if not np.isnan(own).any()}
        for name, by_genre in zip(SEGMENT_FEATURES, quantiles, strict=True)
    }
