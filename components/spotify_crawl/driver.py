"""Keeps a crawl out of the cache: only the store knows whether anything is left to do."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from components.fingerprinting import FingerprintingDriver


class CrawlDriver(FingerprintingDriver):
    """No two crawls are the same to the cache. What a crawl brought is TrackExampleGen's to compare, by content."""

    def fingerprint(self, exec_properties: dict[str, Any]) -> str:
        """The time."""
        del exec_properties
        return datetime.now(timezone.utc).isoformat()
