"""Analyses by the content of their files: what was analysed once is not analysed again, wherever it lies.

Tags are no part of an analysis. Analyses are kept in the user's cache folder (``DEEPMUSIC_CACHE`` names another one),
apart for each state of the analyser's code, in the form of Spotify's audio analysis. A file that was rejected is
kept as its reason.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from deepmusic_genre.analyser.analysis import Analysis, analyse, analyser_name
from deepmusic_genre.analyser.decode import InvalidAudio

_DIGITS = 4


def cached_analysis(content: bytes, middle: float | None = None) -> bytes:
    """The analysis of a sound file, as JSON.

    Args:
        content: the file's bytes.
        middle: See :func:`deepmusic_genre.analyser.analysis.analyse`; here and below.

    Raises:
        InvalidAudio: it cannot be analysed; or an earlier attempt crashed or took too long.
    """
    file = _place(content, middle)
    try:
        kept = _read(file)
    except OSError:
        kept = None
    if kept is None:
        kept = _analysed(content, middle)
        # Without a place to keep it, it is made again the next time.
        with suppress(OSError):
            _write(file, kept)
    rejected = kept.removeprefix(_REJECTED)
    if rejected != kept:
        raise InvalidAudio(rejected.decode())
    return kept


def is_cached(content: bytes, middle: float | None = None) -> bool:
    """Whether the outcome for a file is known."""
    return _place(content, middle).exists()


def reject(content: bytes, reason: str, middle: float | None = None) -> None:
    """Keeps a file from being analysed again: it has crashed the analyser, or never came to an end."""
    with suppress(OSError):
        _write(_place(content, middle), _REJECTED + reason.encode())


def to_json(analysis: Analysis) -> bytes:
    """An analysis in the form of Spotify's, with ``analyser`` for who made it."""
    starts = np.cumsum(analysis.durations) - analysis.durations
    segments = [
        {"start": start, "duration": duration, "timbre": timbre, "pitches": pitches}
        for start, duration, timbre, pitches in zip(
            starts.round(5).tolist(),
            analysis.durations.round(5).tolist(),
            analysis.timbre.astype(np.float64).round(_DIGITS).tolist(),
            analysis.pitches.astype(np.float64).round(_DIGITS).tolist(),
            strict=True,
        )
    ]
    return json.dumps(
        {
            "analyser": analyser_name(),
            "notes": analysis.notes,
            "track": {"duration": round(analysis.duration, 5)},
            "segments": segments,
        }
    ).encode()


_REJECTED = b"rejected: "


def _analysed(content: bytes, middle: float | None) -> bytes:
    try:
        return to_json(analyse(io.BytesIO(content), middle))
    except InvalidAudio as error:
        return _REJECTED + str(error).encode()


def _place(content: bytes, middle: float | None) -> Path:
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    folder = os.environ.get("DEEPMUSIC_CACHE") or user_cache_path("deepmusic")
    part = "" if middle is None else f"-middle-{middle:g}"
    return Path(folder) / "analyses" / f"{analyser_name()}-{_code()}{part}" / digest[:2] / f"{digest}.json.gz"


@cache
def _code() -> str:
    """A hash of what decides an analysis: this package's files, and the libraries that decode and transform."""
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted(Path(__file__).parent.iterdir()):
        if file.suffix in (".py", ".json"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update(" ".join(version(name) for name in ("av", "numpy", "scipy")).encode())
    return digest.hexdigest()


def _read(file: Path) -> bytes | None:
    """What is kept; None where nothing is, or nothing whole."""
    try:
        return gzip.decompress(file.read_bytes())
    except (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error):
        return None


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        try:
            part.write(gzip.compress(content, mtime=0))
            part.flush()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink(missing_ok=True)
            raise
