"""Crawls, and describes the store as an artifact."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import msgspec
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, artifact_utils

from components.artifacts import SpotifyStore
from components.spotify_crawl.progress import LineProgress
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import POLICY, Access, CrawlRequest
from components.spotify_crawl.start import crawl_into
from components.spotify_crawl.store import finished_crawl
from components.storage.json_files import write_json
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import received_stop

_LINE_EVERY_SECONDS = 300

log = logging.getLogger("deepmusic.SpotifyCrawl")


class StoreState(msgspec.Struct, frozen=True):
    """The artifact's content: where the store is, and how the crawl ended that it is of."""

    path: str
    report: CrawlReport


class Executor(BaseExecutor):
    """Executor of SpotifyCrawl."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Crawls what is missing.

        Raises:
            PipelineInputError: credentials or store cannot be used, or not one track could be had.
            KeyboardInterrupt: the user stopped it; the store is whole.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        folder = exec_properties["store"]
        request = msgspec.json.decode(exec_properties["request"], type=CrawlRequest)
        report = finished_crawl(Path(folder))
        if report is not None and report.complete and report.request == request:
            log.info(
                "%s tracks, complete since %s; `deepmusic crawl` looks for more", f"{report.stored:,}", report.started
            )
        else:
            log.info("%s", POLICY)
            access = msgspec.json.decode(exec_properties["access"], type=Access)
            report = crawl_into(Path(folder), request, access, _progress(), exec_properties["code_version"])
            log.info("%s", report)
        if report.interrupted:
            raise received_stop() or KeyboardInterrupt
        if not report.stored:
            raise PipelineInputError(f"The crawl brought not one track. {_why_nothing(report)}")
        if report.stopped:
            log.info("Not complete: %s. %s", report.stopped, report.rest)
        uri = artifact_utils.get_single_uri(output_dict["store_state"])
        write_json(os.path.join(uri, SpotifyStore.FILE), StoreState(folder, report))


def _progress() -> LineProgress:
    return LineProgress(log.info, lambda text: log.info(text, extra={"progress": True}), _LINE_EVERY_SECONDS)


def _why_nothing(report: CrawlReport) -> str:
    if report.stopped:
        return f"{report.stopped}. {report.rest}"
    return "".join(f"\n  {reason}" for reason in report.reasons)
