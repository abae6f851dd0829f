"""What the client asks where nobody says otherwise; by itself, so that a command's help need not import the client."""

from __future__ import annotations

DEFAULT_URL = "http://127.0.0.1:8501"
DEFAULT_MODEL = "deepmusic"
DEFAULT_TIMEOUT_S = 60.0
FORMATS = ("bars", "csv", "jsonl")
"""How answers are printed, the default first."""

FURTHER_FORMATS = ("jsonl", "m3u8")
"""How bulk tagging writes answers beside Parquet and CSV."""
