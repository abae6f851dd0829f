"""``deepmusic report``: the newest run's report, in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from components.artifacts import RunReport
from components.storage.places import is_remote
from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import OK
from pipeline.console import relative
from pipeline.run.command_line import named_settings
from pipeline.settings import Settings, of_demo


def open_report(given: Given) -> int:
    """Prints where the newest report is, and opens it where there is a browser.

    Raises:
        PipelineInputError: There is none, or it is on a remote file system.
    """
    report = _newest(named_settings(given))
    print(relative(report))
    webbrowser.open(report.as_uri())
    return OK


def _newest(settings: Settings) -> Path:
    candidates = [settings, of_demo(settings)]
    for candidate in candidates:
        if is_remote(candidate.artifacts):
            raise PipelineInputError(f"Reports are in {candidate.artifacts}, which a browser here cannot open.")
        # Those of an older state of the project are in no run's folder.
        layouts = (f"{run}ReportGen/report/*/{RunReport.HTML_FILE}" for run in ("*/", ""))
        found = [report for layout in layouts for report in Path(candidate.artifacts).glob(layout)]
        if found:
            return max(found, key=lambda report: report.stat().st_mtime)
    places = " or ".join(candidate.artifacts for candidate in candidates)
    raise PipelineInputError(f"There is no report in {places}: `deepmusic demo` makes one.")
