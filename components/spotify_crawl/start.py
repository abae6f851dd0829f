"""A crawl from its settings: the same for the component and the command."""

from __future__ import annotations

from pathlib import Path

from components.spotify_crawl.api import SpotifyApi
from components.spotify_crawl.crawl import crawl
from components.spotify_crawl.credentials import endpoints, read_credentials
from components.spotify_crawl.patience import Patience
from components.spotify_crawl.progress import Progress
from components.spotify_crawl.report import CrawlReport
from components.spotify_crawl.request import Access, CrawlRequest
from components.spotify_crawl.store import open_store
from components.spotify_crawl.waits import Waits


def crawl_into(
    folder: Path, request: CrawlRequest, access: Access, progress: Progress, code_version: str
) -> CrawlReport:
    """Crawls into the store in a folder, with the credentials of the environment.

    Args:
        folder: the store's, made if it is not there.
        request: which playlists.
        access: how Spotify is asked.
        progress: is told how it goes.
        code_version: of this package.

    Raises:
        PipelineInputError: credentials or store cannot be used.
    """
    credentials = read_credentials()
    with open_store(folder) as store:
        waits = Waits(progress.wait, access.max_wait_seconds, store.keep_pause)
        api = SpotifyApi(credentials, endpoints(access.api_url), access, waits)
        return crawl(request, store, api, Patience(waits, access.patience_seconds), progress, code_version)
