"""Runs the ingestion on Beam and publishes what it wrote."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from components.track_example_gen.hearing import hears
from components.track_example_gen.ingest import IngestConfig, ingest_shard, publish_shard
from components.track_example_gen.other_genres import gathering
from components.track_example_gen.outcomes import TrackOutcome, read_outcomes
from components.track_example_gen.progress import Progress
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
from components.track_example_gen.spans import files_of, find_spans, fingerprint_of
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.store import Shard, ShardStore, discard, plan_shards
from components.track_example_gen.unmatched import UnmatchedLabel, require_labels_fit, settle_labels
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.labels import Labels

log = logging.getLogger("deepmusic.TrackExampleGen")

_LASTING = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)),
    "is not a directory",
)
"""What errors say that another try would not mend; the last is TensorFlow's."""


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
            pretrained=hears(exec_properties["pretrained"], files_of(spans)),
            genre_names=json.loads(exec_properties["genre_names"]),
        )
        with writing_to(exec_properties["store"]):
            store = ShardStore(exec_properties["store"])
        shards = plan_shards(spans, config, exec_properties["code_version"])
        missing = [shard for shard, known in zip(shards, _known(shards, store), strict=True) if not known]
        if missing:
            self._ingest(missing, store, config)
        if exec_properties.get(FINGERPRINT_PROPERTY_NAME) not in (None, fingerprint_of(spans)):
            unchanged = {shard.key for shard in plan_shards(spans, config, exec_properties["code_version"])}
            for shard in missing:
                if shard.key not in unchanged:
                    discard(store.folder_of(shard))
            raise PipelineInputError(f"The data changed while they were read: {exec_properties['data']}. Run again.")
        by_shard = {shard: read_outcomes(store.folder_of(shard)) for shard in shards}
        unmatched = _settle_labels(by_shard, [span.data for span in spans])
        splits, split_by = exec_properties["splits"], exec_properties["split_by"]
        listings = [list_analyses(span.data) for span in spans]
        unread = [TrackOutcome(item.path, reason=item.reason) for each in listings for item in each.rejections]
        read = [*chain.from_iterable(by_shard.values()), *unread]
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
        _write_lines(os.path.join(report, IngestReport.REJECTIONS_FILE), rejected)
        _write_lines(os.path.join(report, IngestReport.SEVERAL_GENRES_FILE), several_genres(everything))
        _write_lines(os.path.join(report, IngestReport.NOTES_FILE), notes(everything))
        _write_lines(os.path.join(report, IngestReport.CONTRADICTIONS_FILE), contradictions(everything))
        _write_lines(os.path.join(report, IngestReport.UNMATCHED_LABELS_FILE), unmatched)
        write_json(os.path.join(report, IngestReport.SHARDS_FILE), [shard.key for shard in shards])
        others = [line for listing in listings if (line := listing.of_other_kinds())]
        for line in (*summary.lines(), *others, *summary.gaps(config.genres)):
            log.info("%s", line)

    def _ingest(self, shards: list[Shard], store: ShardStore, config: IngestConfig) -> None:
        work = [(store.folder_of(shard), shard) for shard in shards]
        try:
            with self._make_beam_pipeline() as pipeline:
                (
                    pipeline
                    | "Shards" >> beam.Create(work)
                    | "Spread" >> beam.Reshuffle()
                    | "Ingest" >> beam.ParDo(_IngestShard(config, len(shards)))
                )
        except (PipelineInputError, RuntimeError) as error:
            raise _input_error(error) or error from error


class _IngestShard(beam.DoFn):
    def __init__(self, config: IngestConfig, shards: int) -> None:
        self._config = config
        self._shards = shards

    def setup(self) -> None:
        self._labels = LabelsReader()
        self._progress = Progress(self._shards)

    def process(self, element: tuple[str, Shard]) -> Iterator[None]:
        folder, shard = element
        labels = self._labels.read(shard.labels)
        with writing_to(folder):
            ingest_shard(shard.paths, labels, self._config, folder, self._progress)
        self._progress.part_read()
        yield from ()


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


def _known(shards: Sequence[Shard], store: ShardStore) -> list[bool]:
    labels = LabelsReader()
    return [store.has(shard, labels.read(shard.labels)) for shard in shards]


def _input_error(error: Exception) -> PipelineInputError | None:
    """The user's fault without what Beam adds to it, or makes of it in another process; None if it was none."""
    text = "".join(traceback.format_exception_only(error))
    found = re.findall(rf"{PipelineInputError.__name__}: (.*?)(?: \[while running|$)", text, re.MULTILINE)
    return PipelineInputError(found[-1]) if found else None


def _settle_labels(by_shard: dict[Shard, list[TrackOutcome]], folders: Sequence[str]) -> list[UnmatchedLabel]:
    """Settles each labels file for all the shards that it is for, in place; returns the rows that label no track."""
    reader, unmatched = LabelsReader(), []
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
