"""SpotifyCrawl: playlists per genre to a store of audio analyses."""

from __future__ import annotations

import msgspec
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import SpotifyStore
from components.spotify_crawl.driver import CrawlDriver
from components.spotify_crawl.executor import Executor
from components.spotify_crawl.request import Access, CrawlRequest


class SpotifyCrawlSpec(ComponentSpec):
    """Outputs and properties of :class:`SpotifyCrawl`."""

    PARAMETERS = {
        "store": ExecutionParameter(type=str),
        "request": ExecutionParameter(type=str),
        "access": ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"store_state": ChannelParameter(type=SpotifyStore)}


class SpotifyCrawl(BaseComponent):
    """Crawls playlists into a store that outlives runs, unless it holds all that is asked for already.

    Credentials come from the environment of the process that runs it, never from its properties.

    Outputs:
        store_state: where the store is, what it holds, and what could not be had.
    """

    SPEC_CLASS = SpotifyCrawlSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DRIVER_CLASS = CrawlDriver

    def __init__(self, store: str, request: CrawlRequest, access: Access, code_version: str) -> None:
        """Constructs the component.

        Args:
            store: the store's folder, on this machine.
            request: which playlists.
            access: how Spotify is asked.
            code_version: changes when this component does.
        """
        super().__init__(
            spec=SpotifyCrawlSpec(
                store=store,
                request=msgspec.json.encode(request).decode(),
                access=msgspec.json.encode(access).decode(),
                code_version=code_version,
                store_state=Channel(type=SpotifyStore),
            )
        )
