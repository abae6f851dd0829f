"""A crawl from its settings: the same for the component and the command."""

from __future__ import annotations

from pathlib import Path

from components.spotify_crawl.api import SpotifyApi
from components.spotify_crawl.crawl import crawl
from components.spotify_crawl.credentials import endpoints, read_credentials
from components.spotify_crawl.progress import Progress
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import CrawlRequest
from components.spotify_crawl.store import open_store


def crawl_into(
    folder: Path, request: CrawlRequest, max_wait_seconds: float, progress: Progress, code_version: str
) -> CrawlReport:
    """Crawls into the store in a folder, with the credentials of the environment.

    Args:
        folder: the store's, made if it is not there.
        request: which playlists.
        max_wait_seconds: the longest pause that is waited for if Spotify asks for it.
        progress: is told how it goes.
        code_version: of this package.

    Raises:
        PipelineInputError: credentials or store cannot be used.
    """
    api = SpotifyApi(read_credentials(), endpoints(), progress.wait, max_wait_seconds)
    with open_store(folder) as store:
        return crawl(request, store, api, progress, code_version)
