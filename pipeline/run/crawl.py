"""``make crawl``: the crawl of the pipeline's Spotify source by itself, for crawls of hours and days."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from components.spotify_crawl.progress import BarProgress, LineProgress, Progress
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import ANALYSES_FOLDER, LABELS_FILE, POLICY
from components.spotify_crawl.start import crawl_into
from components.spotify_crawl.store import REPORT_FILE
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.process import exit_code_of, words_for
from pipeline.code_version import code_version
from pipeline.settings import Settings, load_settings

_LINE_EVERY_SECONDS = 60
_FAULT = 1
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Crawls.

    Returns:
        0 if there are tracks, whether or not Spotify ended the crawl early; 1 if there are none or it could not begin;
        130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.run.crawl", description=__doc__)
    parser.add_argument("--settings", type=Path, help="YAML file with spotify.playlists")
    parser.add_argument("--name", help="name of the pipeline")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        # Last, so that nothing turns off what is checked with it.
        assignments = [*options.assignments, "spotify.enabled=true"]
        settings = load_settings(options.settings, assignments, {"name": options.name} if options.name else {})
        console.print(POLICY, markup=False)
        with _progress(console) as progress:
            report = _crawl(settings, progress)
    except PipelineInputError as error:
        print(error, file=sys.stderr)
        return _FAULT
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
        settings.spotify.max_wait_seconds,
        progress,
        code_version("components.spotify_crawl.executor"),
    )


def _show(report: CrawlReport, store: str, console: Console) -> int:
    lines = [str(report)]
    if report.stopped:
        lines.append(f"Not complete: {report.stopped}. The same command goes on; {report.left:,} tracks are left.")
    places = {"analyses": ANALYSES_FOLDER, "labels": LABELS_FILE, "what was passed over, and why": REPORT_FILE}
    lines += [f"{name}: {Path(store, file)}" for name, file in places.items()]
    for line in lines:
        console.print(line, markup=False)
    if report.interrupted:
        return _INTERRUPTED
    return 0 if report.stored else _FAULT


if __name__ == "__main__":
    sys.exit(main())
