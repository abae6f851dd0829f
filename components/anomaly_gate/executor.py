"""Reads the anomalies and decides."""

from __future__ import annotations

import logging
import os
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.anomaly_gate.anomalies import describe, read_anomalies
from components.storage.files import fileio
from deepmusic_genre.errors import GateClosed

log = logging.getLogger("deepmusic.AnomalyGate")


class Executor(BaseExecutor):
    """Executor of AnomalyGate."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the schema to the output.

        Raises:
            GateClosed: there are anomalies; the message lists them all.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(input_dict["anomalies"])
        splits = artifact_utils.decode_split_names(artifact.split_names)
        lines = describe({split: read_anomalies(artifact_utils.get_split_uri([artifact], split)) for split in splits})
        if lines:
            listed = "".join(f"\n  {line}" for line in lines)
            raise GateClosed(
                f"The data does not agree with the schema, nothing was trained or pushed:{listed}\n"
                "Mend the data, or the schema if the data is right."
            )
        schema = io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        approved = artifact_utils.get_single_uri(output_dict["approved_schema"])
        fileio.copy(schema, os.path.join(approved, os.path.basename(schema)))
        log.info("no anomalies in %s", ", ".join(splits))
