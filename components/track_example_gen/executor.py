"""Runs the ingestion on Beam and publishes what it wrote."""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import msgspec
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils

from components.artifacts import IngestReport
from components.errors import PipelineInputError
from components.json_files import write_json
from components.track_example_gen.catalogue import FILE_ERRORS, list_analyses, load_labels
from components.track_example_gen.ingest import IngestConfig, ingest_shard, publish_shard
from components.track_example_gen.progress import Progress
from components.track_example_gen.repetitions import decide_repetitions
from components.track_example_gen.report import (
    rejections,
    require_one_analyser,
    require_usable,
    several_genres,
    summarize,
)
from components.track_example_gen.splits import SPLITS
from components.track_example_gen.verdicts import Verdict, read_verdicts

_FILES_A_SHARD = 128

log = logging.getLogger("deepmusic.TrackExampleGen")


class Executor(BaseBeamExecutor):
    """Executor of TrackExampleGen.

    A shard of files is the unit of work: each becomes a TFRecord file a split, written straight to disk. No example
    goes through a Beam shuffle, so memory does not grow with the catalogue on a runner that shuffles in memory.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits and the report.

        Raises:
            PipelineInputError: the input cannot be used, see ``require_usable`` and ``require_one_analyser``, or what
                is made of it cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        config = IngestConfig(
            genres=tuple(json.loads(exec_properties["genres"])),
            split_by=exec_properties["split_by"],
            max_segments=exec_properties.get("max_segments"),
            several_genres=exec_properties["several_genres"],
        )
        folders = self._ingest(list_analyses(exec_properties["data"]), exec_properties.get("labels"), config)
        verdicts = _verdicts_by_folder(folders, config)
        everything = [verdict for shard in verdicts.values() for verdict in shard]
        summary, rejected = summarize(everything), rejections(everything)
        for item in rejected:
            log.debug("rejected %s: %s", item.path, item.reason)
        require_usable(summary, rejected, exec_properties["max_rejected_share"], config.split_by)
        if not exec_properties["mix_analysers"]:
            require_one_analyser(summary)

        _publish_examples(artifact_utils.get_single_instance(output_dict["examples"]), verdicts)
        report = artifact_utils.get_single_uri(output_dict["report"])
        write_json(os.path.join(report, IngestReport.SUMMARY_FILE), summary)
        _write_lines(os.path.join(report, IngestReport.REJECTIONS_FILE), rejected)
        _write_lines(os.path.join(report, IngestReport.SEVERAL_GENRES_FILE), several_genres(everything))
        for line in (str(summary), *summary.gaps(config.genres)):
            log.info("%s", line)

    def _ingest(self, paths: list[str], labels: str | None, config: IngestConfig) -> list[str]:
        shards = [paths[start : start + _FILES_A_SHARD] for start in range(0, len(paths), _FILES_A_SHARD)]
        folders = [os.path.join(self._get_tmp_dir(), f"shard-{number:05d}") for number in range(len(shards))]
        if labels:
            load_labels(labels)
        try:
            with self._make_beam_pipeline() as pipeline:
                (
                    pipeline
                    | "Shards" >> beam.Create(list(zip(folders, shards, strict=True)))
                    | "Spread" >> beam.Reshuffle()
                    | "Ingest" >> beam.ParDo(_IngestShard(labels, config, len(shards)))
                )
        except (PipelineInputError, RuntimeError) as error:
            raise _input_error(error) or error from error
        return folders


class _IngestShard(beam.DoFn):
    def __init__(self, labels: str | None, config: IngestConfig, shards: int) -> None:
        self._labels_path = labels
        self._config = config
        self._shards = shards

    def setup(self) -> None:
        self._labels = load_labels(self._labels_path) if self._labels_path else None
        self._progress = Progress(self._shards)

    def process(self, element: tuple[str, list[str]]) -> Iterator[None]:
        folder, paths = element
        try:
            ingest_shard(paths, self._labels, self._config, folder, self._progress)
        except FILE_ERRORS as error:
            # What cannot be read is rejected: this could not be written.
            raise PipelineInputError(f"Nothing more can be written to {folder}: {error}.") from error
        self._progress.part_read()
        yield from ()


def _input_error(error: Exception) -> PipelineInputError | None:
    """The user's fault without what Beam adds to it, or makes of it in another process; None if it was none."""
    text = "".join(traceback.format_exception_only(error))
    found = re.findall(rf"{PipelineInputError.__name__}: (.*?)(?: \[while running|$)", text, re.MULTILINE)
    return PipelineInputError(found[-1]) if found else None


def _verdicts_by_folder(folders: list[str], config: IngestConfig) -> dict[str, list[Verdict]]:
    by_folder = {folder: read_verdicts(folder) for folder in folders}
    everything = [verdict for shard in by_folder.values() for verdict in shard]
    final = iter(decide_repetitions(everything, config.several_genres))
    return {folder: [next(final) for _ in shard] for folder, shard in by_folder.items()}


def _publish_examples(examples: Artifact, verdicts: dict[str, list[Verdict]]) -> None:
    examples.splits = SPLITS
    split_uri = {split: examples.path(split=split) for split in SPLITS}
    for uri in split_uri.values():
        fileio.makedirs(uri)
    for number, (folder, shard) in enumerate(verdicts.items()):
        publish_shard(folder, shard, split_uri, f"data_tfrecord-{number:05d}-of-{len(verdicts):05d}")


def _write_lines(path: str, structs: Sequence[object]) -> None:
    with fileio.open(path, "wb") as file:
        file.write(msgspec.json.Encoder().encode_lines(structs))
