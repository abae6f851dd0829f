"""Gathers the run and writes it down."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils

from components.artifacts import RunReport
from components.storage.files import fileio

_GIVEN = ("path", "labels", "max_rejected_share")


class Executor(BaseExecutor):
    """Executor of ReportGen."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the page, its numbers, and a LaTeX table for each candidate."""
        # Plots and templates are imported here: the pipeline's definition imports this module and needs neither.
        from components.report_gen.gather import Run, gather
        from components.report_gen.latex import classification_report
        from components.report_gen.page import render

        self._log_startup(input_dict, output_dict, exec_properties)
        settings = json.loads(exec_properties["settings"])
        settings["data"].update({key: exec_properties[key] for key in _GIVEN if exec_properties.get(key) is not None})
        run = Run(
            settings=settings,
            synthetic=bool(exec_properties["synthetic"]),
            code_version=exec_properties["code_version"],
            run_id=self._context.pipeline_run_id if self._context else None,
        )
        report = gather(input_dict, run)
        files = {
            RunReport.HTML_FILE: render(report).encode(),
            RunReport.JSON_FILE: msgspec.json.format(msgspec.json.encode(report)),
            **{
                f"{model.name}.tex": classification_report(model.test, report.synthetic).encode()
                for model in report.models
            },
        }
        folder = artifact_utils.get_single_uri(output_dict["report"])
        for name, content in files.items():
            with fileio.open(os.path.join(folder, name), "wb") as file:
                file.write(content)
