"""``deepmusic crawl``: the crawl of the pipeline's Spotify source by itself, for crawls of hours and days."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from components.spotify_crawl.progress import BarProgress, LineProgress, Progress
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import LABELS_FILE, POLICY
from components.spotify_crawl.start import crawl_into
from components.spotify_crawl.store import REPORT_FILE
from deepmusic_genre.cli import Given
from deepmusic_genre.exit_codes import FAULT, INCOMPLETE, OK
from deepmusic_genre.process import exit_code_of, received_stop, words_for
from deepmusic_genre.tracks.crawled_store import ANALYSES_FOLDER
from pipeline.code_version import code_version
from pipeline.run.command_line import named_settings
from pipeline.settings import Settings

_LINE_EVERY_SECONDS = 60


def crawl(given: Given) -> int:
    """Crawls.

    Returns:
        0 if everything was answered and there are tracks; 1 if there are none, or Spotify gives no more of them;
        INCOMPLETE if the same command can get more later; 129, 130 or 143 if it was stopped.

    Raises:
        PipelineInputError: It could not begin.
    """
    console = Console(highlight=False, soft_wrap=True)
    # Last, so that nothing turns off what is checked with it.
    settings = named_settings(given, "spotify.enabled=true")
    console.print(POLICY, markup=False)
    try:
        with _progress(console) as progress:
            report = _crawl(settings, progress)
    except KeyboardInterrupt as stop:
        print(f"{words_for(stop)} Run the same command to resume.", file=sys.stderr)
        return exit_code_of(stop)
    return _show(report, settings.spotify_store, console)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    if not console.is_terminal:
        yield LineProgress(lambda text: console.print(text, markup=False), lambda _: None, _LINE_EVERY_SECONDS)
        return
    with BarProgress(console) as bar:
        yield bar


def _crawl(settings: Settings, progress: Progress) -> CrawlReport:
    return crawl_into(
        Path(settings.spotify_store),
        settings.spotify.request,
        settings.spotify.access,
        progress,
        code_version("components.spotify_crawl.executor"),
    )


def _show(report: CrawlReport, store: str, console: Console) -> int:
    lines = [str(report), *(f"  {reason}" for reason in report.reasons)]
    if report.stopped:
        lines.append(f"Not complete: {report.stopped}. {report.rest}")
    places = {"analyses": ANALYSES_FOLDER, "labels": LABELS_FILE, "what was passed over, and why": REPORT_FILE}
    lines += [f"{name}: {Path(store, file)}" for name, file in places.items()]
    for line in lines:
        console.print(line, markup=False)
    if report.interrupted:
        return exit_code_of(received_stop() or KeyboardInterrupt())
    if report.stopped and not report.final:
        return INCOMPLETE
    return OK if report.complete and report.stored else FAULT
