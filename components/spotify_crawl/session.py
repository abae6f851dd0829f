"""HTTP for a crawl: answers of a bounded size, from where they were asked for."""

from __future__ import annotations

from typing import Any

import requests

from deepmusic_genre.tracks.source import MAX_ANALYSIS_BYTES

_CHUNK_BYTES = 1 << 16


class BoundedSession(requests.Session):
    """Follows no redirect, retries nothing by itself, and reads no more than an audio analysis may have."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """See the base class; raises requests.exceptions.ContentDecodingError for an answer that is too large."""
        response = super().send(request, **{**options, "stream": True, "allow_redirects": False})
        content = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANALYSIS_BYTES:
                response.close()
                raise requests.exceptions.ContentDecodingError("the answer is too large")
        # Where the base class keeps what it has read.
        response._content = bytes(content)
        return response
