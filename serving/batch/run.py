"""Tags a catalogue: what is missing on Beam, then all of it as whole files."""

from __future__ import annotations

import hashlib
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json
from components.track_example_gen.catalogue import list_analyses
from deepmusic_genre.client.defaults import FURTHER_FORMATS
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import received_stop
from pipeline.checks.beam import require_workers
from pipeline.code_version import code_version
from pipeline.engine import engine_jobs
from serving.batch.folder import (
    JOB_FILE,
    SUMMARY_FILE,
    Job,
    answer_files,
    output_folder,
    remove_files,
    whole,
    writing_to,
)
from serving.batch.progress import Progress, watched
from serving.batch.shards import Shard, plan_shards
from serving.batch.tables import join_parts
from serving.batch.worker import PART, UNFINISHED_PART, TagShard

_TOLD = re.compile(rf"{PipelineInputError.__name__}: (.*?)(?: \[while running .*)?$", re.MULTILINE)


class Summary(msgspec.Struct, frozen=True):
    """What became of a catalogue.

    Attributes:
        job: whose answers to what.
        files: analyses there are.
        tracks: how many were tagged.
        rejected: tracks and files left out, each with its reason in ``rejections.jsonl``.
        genres: tagged tracks by genre, in the order of the class index.
        work: changes when a file of the catalogue or the model does.
        others: what there is beside the analyses, see :class:`deepmusic_genre.tracks.walk.Listing`.
    """

    job: Job
    files: int
    tracks: int
    rejected: int
    genres: dict[str, int]
    work: str
    others: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        summary: of the whole catalogue.
        tagged: files that were tagged by this call; the answers to the others were there before.
    """

    summary: Summary
    tagged: int


def tag(
    job: Job, model_folder: str, out: str, beam_args: Sequence[str], progress: Progress, formats: Sequence[str] = ()
) -> Outcome:
    """Tags what is not tagged yet of a catalogue, and removes answers to files that have changed or gone since.

    Args:
        job: what to tag, and who does.
        model_folder: the model's.
        out: where the answers go.
        beam_args: Beam's options.
        progress: is told how far it is.
        formats: what is written beside Parquet and CSV, of
            :data:`deepmusic_genre.client.defaults.FURTHER_FORMATS`.

    Raises:
        PipelineInputError: something cannot be read, used or written; see :func:`output_folder`.
    """
    listing = list_analyses(job.data)
    paths = listing.files
    with output_folder(out, job) as parts:
        require_workers(beam_args, parts, (job.data, model_folder), progress)
        progress(f"Looking at {len(paths):,} files")
        answered_by = f"{job.model.fingerprint}{code_version(TagShard.__module__)}{job.middle}"
        shards = plan_shards(job.data, paths, answered_by)
        missing = _missing(shards, parts)
        files = {shard.key: len(shard.paths) for shard in missing}
        tagged = sum(files.values())
        state = [*(shard.key for shard in shards), *map(str, listing.rejections), listing.of_other_kinds()]
        work = hashlib.blake2b("".join(state).encode(), digest_size=16).hexdigest()
        names = answer_files(job.model.genres, formats)
        summary = _known(out, work, names)
        if missing or summary is None:
            with writing_to(out):
                remove_files(out, [SUMMARY_FILE, *answer_files(job.model.genres, FURTHER_FORMATS)])
            if missing:
                with watched(parts, files, len(paths) - tagged, progress):
                    _run_beam(missing, TagShard(job.model, model_folder, parts, job.middle), beam_args)
            progress("Putting the answers together")
            with writing_to(out):
                with ExitStack() as stack:
                    to = {name: stack.enter_context(whole(os.path.join(out, name), parts)) for name in names}
                    counts = join_parts(_part_files(shards, parts), job.model.genres, to, listing.rejections)
                summary = Summary(
                    *(job, len(paths), counts.tracks, counts.rejected, counts.genres, work, listing.of_other_kinds())
                )
                with whole(os.path.join(out, SUMMARY_FILE), parts) as staging:
                    write_json(staging, summary)
    return Outcome(summary, tagged)


def _missing(shards: Sequence[Shard], parts: str) -> list[Shard]:
    """The shards without answers, after everything that is no answer of theirs was removed."""
    there = set(fileio.listdir(parts))
    with writing_to(parts):
        remove_files(parts, there - {shard.key + PART for shard in shards} - {JOB_FILE})
    return [shard for shard in shards if shard.key + PART not in there]


def _known(out: str, work: str, names: Sequence[str]) -> Summary | None:
    """What was published, if all of these files are there and still are the answer."""
    if not {SUMMARY_FILE, *names} <= set(fileio.listdir(out)):
        return None
    summary = read_json(os.path.join(out, SUMMARY_FILE), Summary)
    return summary if summary.work == work else None


def _run_beam(shards: Sequence[Shard], step: TagShard, args: Sequence[str]) -> None:
    try:
        with engine_jobs(), beam.Pipeline(options=PipelineOptions(list(args))) as pipeline:
            pipeline | "Shards" >> beam.Create(shards) | "Spread" >> beam.Reshuffle() | "Tag" >> beam.ParDo(step)
    except Exception as error:  # A runner raises what it likes: the text of what a worker raised is in it.
        text = "".join(traceback.format_exception_only(error))
        if stop := received_stop():
            raise stop from error
        if KeyboardInterrupt.__name__ in text:
            raise KeyboardInterrupt from error
        told = _TOLD.search(text)
        if told is None:
            raise
        raise PipelineInputError(told[1]) from error


def _part_files(shards: Sequence[Shard], parts: str) -> Iterator[str]:
    there = set(fileio.listdir(parts))
    for shard in shards:
        ending = PART if shard.key + PART in there else UNFINISHED_PART
        yield os.path.join(parts, shard.key + ending)
