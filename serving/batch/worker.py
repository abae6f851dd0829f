"""What a Beam worker does: one shard's files in, one file of answers out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from components.track_example_gen.ingest import read_files
from deepmusic_genre.tracks.track import InvalidTrack, Rejection, Track, Unreadable, require_comparable, require_heard
from serving.batch.folder import whole, writing_to
from serving.batch.model import LoadedModel, PushedModel, Unanswerable
from serving.batch.shards import Shard
from serving.batch.tables import answer_schema, answer_table, part_table, write_part

PART = ".parquet"
UNFINISHED_PART = ".unfinished.parquet"
"""Of a shard with a file that could not be read: it counts in this call, and is tagged anew by the next."""

Item = tuple[str, Track]
"""Where a track was read, and the track."""

_TOGETHER_TRACKS = 32
_TOGETHER_SEGMENTS = 1 << 16


class TagShard(beam.DoFn):
    """Reads, answers and writes in one step, so that a shard's answers are on disk before the next one is read.

    A runner that shuffles in memory goes through a pipeline step by step. Beam's RunInference and tfx-bsl's, which
    batch across elements and leave writing to a later step, would hold every answer before the first is written.
    """

    def __init__(self, model: PushedModel, model_folder: str, parts: str, middle: float | None = None) -> None:
        """Makes the step; nothing but paths and names goes to a worker.

        Args:
            model: which one answers.
            model_folder: its SavedModel.
            parts: where the shards' files go.
            middle: seconds from the middle of each sound file that are analysed, None for all of it.
        """
        self._model = model
        self._model_folder = model_folder
        self._parts = parts
        self._middle = middle
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the model, once a process."""
        self._loaded: LoadedModel = self._shared.acquire(lambda: LoadedModel(self._model_folder))

    def process(self, element: Shard) -> Iterator[None]:
        """Tags one shard."""
        items = read_files(element.paths, self._middle, self._model.listens)
        answers, rejections = _tag(items, self._model, self._loaded)
        ending = UNFINISHED_PART if any(isinstance(item, Unreadable) for item in rejections) else PART
        table = part_table(answers, rejections, answer_schema(self._model.genres))
        path = os.path.join(self._parts, element.key + ending)
        with writing_to(self._parts), whole(path, self._parts) as staging:
            write_part(staging, table)
        yield from ()


def _tag(
    read: Iterable[Track | Rejection], model: PushedModel, loaded: LoadedModel
) -> tuple[list[pa.Table], list[Rejection]]:
    answers: list[pa.Table] = []
    rejections: list[Rejection] = []

    def answer(batch: Sequence[Item]) -> None:
        try:
            answers.append(answer_table(batch, loaded.answer([track for _, track in batch]), model))
        except Unanswerable as error:
            if len(batch) > 1:  # The others have an answer each.
                for item in batch:
                    answer([item])
            else:
                ((path, track),) = batch
                rejections.append(Rejection(path, f"{model} has no answer to it: {error}", track.track_id))

    items = (_comparable(item, model) for item in read)
    for batch in _batches(items, rejections):
        answer(batch)
    return answers, rejections


def _comparable(item: Track | Rejection, model: PushedModel) -> Track | Rejection:
    try:
        if isinstance(item, Track):
            require_comparable(item, model.analysers)
            if model.listens:
                require_heard(item)
    except InvalidTrack as error:
        return Rejection(item.path, str(error), item.track_id)
    return item


def _batches(items: Iterable[Track | Rejection], rejections: list[Rejection]) -> Iterator[list[Item]]:
    """Tracks in batches, bounded by their number and their segments; rejections go into the list."""
    batch: list[Item] = []
    segments = 0
    for item in items:
        if isinstance(item, Rejection):
            rejections.append(item)
            continue
        batch.append((item.path, item))
        segments += len(item.segments)
        if len(batch) == _TOGETHER_TRACKS or segments >= _TOGETHER_SEGMENTS:
            yield batch
            batch, segments = [], 0
    if batch:
        yield batch
