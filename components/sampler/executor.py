"""Copies the tracks that a sampling keeps."""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import Any

import tensorflow as tf
from tfx.components.example_gen.utils import FINGERPRINT_PROPERTY_NAME
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils

from components.sampler.natural import save_natural_counts
from components.sampler.sampling import Sampling, downsample, is_sampled
from components.scoring.tracks import track_table
from components.storage.files import fileio
from components.track_example_gen.splits import TRAIN

log = logging.getLogger("deepmusic.Sampler")


class Executor(BaseExecutor):
    """Executor of Sampler."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes each split's kept tracks, file by file."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        sampled = artifact_utils.get_single_instance(output_dict["sampled_examples"])
        sampled.split_names = examples.split_names
        sampled.span = examples.span
        # What the data was stays known to whoever reads the sample.
        fingerprint = examples.get_string_custom_property(FINGERPRINT_PROPERTY_NAME)
        sampled.set_string_custom_property(FINGERPRINT_PROPERTY_NAME, fingerprint)
        sampling: Sampling = exec_properties["sampling"]
        for split in artifact_utils.decode_split_names(examples.split_names):
            folders = [artifact_utils.get_split_uri([artifact], split) for artifact in (examples, sampled)]
            sample_split(*folders, sampled=is_sampled(split, sampling))
            log.info("%s: %s", split, _in_words(_genres(folders[1])))
            # Those that are tested on, and those that will be asked for, are as frequent as before.
            if split == TRAIN and sampling == "downsampled":
                save_natural_counts(sampled.uri, _genres(folders[0]))


def sample_split(source: str, target: str, *, sampled: bool) -> None:
    """Copies the TFRecord files in a folder, without the tracks that are left out if the split is to be sampled."""
    fileio.makedirs(target)
    names = sorted(fileio.listdir(source))
    if not sampled:
        for name in names:
            fileio.copy(os.path.join(source, name), os.path.join(target, name))
        return
    tables = {name: track_table(tf.data.TFRecordDataset(os.path.join(source, name))) for name in names}
    ids = {name: table["track_id"].to_pylist() for name, table in tables.items()}
    kept = downsample(
        [pair for name in names for pair in zip(ids[name], tables[name]["genre"].to_pylist(), strict=True)]
    )
    for name in names:
        with tf.io.TFRecordWriter(os.path.join(target, name)) as writer:
            records = tf.data.TFRecordDataset(os.path.join(source, name)).as_numpy_iterator()
            for track_id, record in zip(ids[name], records, strict=True):
                if track_id in kept:
                    writer.write(record)


def _genres(folder: str) -> Counter[str]:
    files = [os.path.join(folder, name) for name in sorted(fileio.listdir(folder))]
    return Counter(track_table(tf.data.TFRecordDataset(files))["genre"].to_pylist())


def _in_words(genres: Counter[str]) -> str:
    return f"{genres.total():,} tracks, " + ", ".join(f"{genre} {genres[genre]:,}" for genre in sorted(genres))
