"""Runs the ingestion on Beam and publishes what it wrote."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import Any

import apache_beam as beam
import msgspec
import tensorflow as tf
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact, artifact_utils

from components.artifacts import IngestReport
from components.storage.files import fileio
from components.storage.json_files import write_json
from components.track_example_gen.assignment import load_assignment, save_assignment, with_splits
from components.track_example_gen.catalogue import FILE_ERRORS, LabelsReader, list_analyses
from components.track_example_gen.cores import Work, read_on_cores, readers_for
from components.track_example_gen.ingest import IngestConfig, ingest_shard
from components.track_example_gen.known_files import KnownFiles
from components.track_example_gen.other_genres import gathering
from components.track_example_gen.outcomes import TrackOutcome, read_outcomes
from components.track_example_gen.progress import Progress
from components.track_example_gen.publication import publish_shard
from components.track_example_gen.repetitions import decide_repetitions
from components.track_example_gen.report import (
    contradictions,
    notes,
    other_genres_rejected,
    rejections,
    require_one_analyser,
    require_usable,
    several_genres,
    summarize,
)
from components.track_example_gen.spans import find_spans, fingerprint_of
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.store import Shard, ShardStore, discard, plan_shards
from components.track_example_gen.unmatched import UnmatchedLabel, require_labels_fit, settle_labels
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.label_table import LabelField
from deepmusic_genre.tracks.labels import Labels

log = logging.getLogger("deepmusic.TrackExampleGen")

_LASTING = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)),
    "is not a directory",
)
"""What errors say that another try would not mend; the last is TensorFlow's."""

_LISTS: dict[str, Callable[[Sequence[TrackOutcome]], Sequence[object]]] = {
    IngestReport.SEVERAL_GENRES_FILE: several_genres,
    IngestReport.NOTES_FILE: notes,
    IngestReport.CONTRADICTIONS_FILE: contradictions,
}
"""The files of the report that list what is told of some tracks."""


class Executor(BaseBeamExecutor):
    """Executor of TrackExampleGen.

    A shard of files is the unit of work: each becomes a TFRecord file, written straight to disk. No example
    goes through a Beam shuffle, so memory does not grow with the catalogue on a runner that shuffles in memory. Shards
    outlive the run, in a store: what an earlier run has read, or this one before it was interrupted, is taken over.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits and the report.

        Raises:
            PipelineInputError: the input cannot be used, see ``require_usable`` and ``require_one_analyser``, it
                changed since the driver saw it, or what is made of it cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        genres: tuple[str, ...] = tuple(json.loads(exec_properties["genres"]))
        spans = find_spans(exec_properties["data"], exec_properties.get("labels"), exec_properties.get("spans"))
        config = IngestConfig(
            genres=genres,
            other=gathering(genres) if exec_properties["other_genres"] == "gather" else None,
            unknown_artists=tuple(json.loads(exec_properties["unknown_artists"])),
            max_segments=exec_properties.get("max_segments"),
            several_genres=exec_properties["several_genres"],
            middle=exec_properties.get("middle"),
            # The driver has found out whether there is sound, and the network.
            pretrained=exec_properties["pretrained"] == "auto",
            genre_names=json.loads(exec_properties["genre_names"]),
        )
        columns: Columns = json.loads(exec_properties.get("label_columns") or "{}")
        with writing_to(exec_properties["store"]):
            store = ShardStore(exec_properties["store"])
        # The driver has just found out whether what is known of them counts.
        digest_of = KnownFiles(exec_properties["store"]).digest
        plan = partial(plan_shards, spans, config, exec_properties["code_version"], digest_of)
        shards = plan()
        missing = _missing(shards, store, LabelsReader(columns))
        if missing:
            self._ingest(missing, store, config, columns)
        if exec_properties.get(FINGERPRINT_PROPERTY_NAME) not in (None, fingerprint_of(spans, digest_of)):
            unchanged = {shard.key for shard in plan()}
            for changed in (shard for shard in missing if shard.key not in unchanged):
                discard(store.folder_of(changed))
            raise PipelineInputError(f"The data changed while they were read: {exec_properties['data']}. Run again.")
        by_shard = {shard: read_outcomes(store.folder_of(shard)) for shard in shards}
        unmatched = _settle_labels(by_shard, [span.data for span in spans], LabelsReader(columns))
        splits, split_by = exec_properties["splits"], exec_properties["split_by"]
        listings = [list_analyses(span.data) for span in spans]
        read = [
            *chain.from_iterable(by_shard.values()),
            *(TrackOutcome(item.path, reason=item.reason) for each in listings for item in each.rejections),
        ]
        decided = decide_repetitions(read, config.several_genres)
        if exec_properties["other_genres"] == "reject":
            decided = other_genres_rejected(decided)
        everything, assignment = with_splits(decided, split_by, load_assignment(splits, split_by))
        final = iter(everything)
        outcomes = {shard: list(islice(final, len(own))) for shard, own in by_shard.items()}
        new = sum(len(outcomes[shard]) for shard in missing)
        summary = summarize(everything, new, [span.number for span in spans], unmatched)
        rejected = rejections(everything)
        for item in rejected:
            log.debug("rejected %s: %s", item.path, item.reason)
        require_labels_fit(everything, unmatched)
        require_usable(summary, rejected[: summary.rejected], exec_properties["max_rejected_share"], split_by)
        if not exec_properties["mix_analysers"]:
            require_one_analyser(summary)

        with writing_to(splits):
            save_assignment(assignment, splits, split_by)
        folders = {store.folder_of(shard): outcomes[shard] for shard in shards}
        _publish_examples(artifact_utils.get_single_instance(output_dict["examples"]), folders)
        report = artifact_utils.get_single_uri(output_dict["report"])
        write_json(os.path.join(report, IngestReport.SUMMARY_FILE), summary)
        write_json(os.path.join(report, IngestReport.SHARDS_FILE), [shard.key for shard in shards])
        _write_lines(os.path.join(report, IngestReport.REJECTIONS_FILE), rejected)
        _write_lines(os.path.join(report, IngestReport.UNMATCHED_LABELS_FILE), unmatched)
        for name, list_them in _LISTS.items():
            _write_lines(os.path.join(report, name), list_them(everything))
        others = [line for listing in listings if (line := listing.of_other_kinds())]
        for line in (*summary.lines(), *others, *summary.gaps(config.genres)):
            log.info("%s", line)

    def _ingest(self, shards: list[Shard], store: ShardStore, config: IngestConfig, columns: Columns) -> None:
        work = [(store.folder_of(shard), shard) for shard in shards]
        if readers := readers_for(work, self._beam_pipeline_args):
            read_on_cores(work, readers, partial(_ingest_one, LabelsReader(columns), config))
            return
        try:
            with self._make_beam_pipeline() as pipeline:
                (
                    pipeline
                    | "Shards" >> beam.Create(work)
                    | "Spread" >> beam.Reshuffle()
                    | "Ingest" >> beam.ParDo(_IngestShard(config, columns, len(shards)))
                )
        except (PipelineInputError, RuntimeError) as error:
            raise _input_error(error) or error from error


Columns = Mapping[LabelField, str]


class _IngestShard(beam.DoFn):
    def __init__(self, config: IngestConfig, columns: Columns, shards: int) -> None:
        self._config = config
        self._columns = columns
        self._shards = shards

    def setup(self) -> None:
        self._labels = LabelsReader(self._columns)
        self._progress = Progress(self._shards)

    def process(self, element: Work) -> Iterator[None]:
        _ingest_one(self._labels, self._config, element, self._progress)
        yield from ()


def _ingest_one(reader: LabelsReader, config: IngestConfig, work: Work, progress: Progress) -> None:
    folder, shard = work
    labels = reader.read(shard.labels)
    with writing_to(folder):
        ingest_shard(shard.paths, labels, config, folder, progress)
    progress.part_read()


@contextmanager
def writing_to(folder: str) -> Iterator[None]:
    """Says which folder it is that cannot be written to.

    Raises:
        PipelineInputError: for what another try would not mend; anything else stays what it is, and may be tried again.
    """
    try:
        yield
    except FILE_ERRORS as error:
        # What cannot be read is rejected: this could not be written.
        if not _is_lasting(error):
            raise
        raise PipelineInputError(f"Nothing more can be written to {folder}: {error}.") from error


def _is_lasting(error: BaseException) -> bool:
    # TensorFlow's errors have no number, but the same words; a bucket's have the class alone.
    refused = (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError)
    return any(words in str(error) for words in _LASTING) or isinstance(error.__cause__ or error, refused)


def _missing(shards: Sequence[Shard], store: ShardStore, labels: LabelsReader) -> list[Shard]:
    return [shard for shard in shards if not store.has(shard, labels.read(shard.labels))]


def _input_error(error: Exception) -> PipelineInputError | None:
    """The user's fault without what Beam adds to it, or makes of it in another process; None if it was none."""
    text = "".join(traceback.format_exception_only(error))
    found = re.findall(rf"{PipelineInputError.__name__}: (.*?)(?: \[while running|$)", text, re.MULTILINE)
    return PipelineInputError(found[-1]) if found else None


def _settle_labels(
    by_shard: dict[Shard, list[TrackOutcome]], folders: Sequence[str], reader: LabelsReader
) -> list[UnmatchedLabel]:
    """Settles each labels file for all the shards that it is for, in place; returns the rows that label no track."""
    unmatched = []
    for path in dict.fromkeys(shard.labels for shard in by_shard if shard.labels):
        labels, shards = reader.read(path), [shard for shard in by_shard if shard.labels == path]
        outcomes = [outcome for shard in shards for outcome in by_shard[shard]]
        settled, rows = settle_labels(outcomes, labels or Labels({}), path, folders)
        unmatched += rows
        final = iter(settled)
        for shard in shards:
            by_shard[shard] = [next(final) for _ in by_shard[shard]]
    return unmatched


def _publish_examples(examples: Artifact, outcomes: dict[str, list[TrackOutcome]]) -> None:
    examples.splits = SPLITS
    split_uri = {split: examples.path(split=split) for split in SPLITS}
    for uri in split_uri.values():
        fileio.makedirs(uri)
    for number, (folder, shard) in enumerate(outcomes.items()):
        publish_shard(folder, shard, split_uri, f"data_tfrecord-{number:05d}-of-{len(outcomes):05d}")


def _write_lines(path: str, structs: Sequence[object]) -> None:
    with fileio.open(path, "wb") as file:
        file.write(msgspec.json.Encoder().encode_lines(structs))
