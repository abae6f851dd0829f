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
import zlib
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from deepmusic_genre.analyser.analysis import Analysis, analyse, analyser_name
from deepmusic_genre.analyser.decode import InvalidAudio
from deepmusic_genre.analyser.folder import cache_folder, write_whole

_DIGITS = 4


def cached_analysis(content: bytes, middle: float | None = None, pretrained: bool = False) -> bytes:
    """The analysis of a sound file, as JSON.

    Args:
        content: the file's bytes.
        middle, pretrained: See :func:`deepmusic_genre.analyser.analysis.analyse`; here and below. An analysis may have
            an ear although none was asked for.

    Raises:
        InvalidAudio: it cannot be analysed; or an earlier attempt crashed or took too long.
        NoWeights: see :func:`deepmusic_genre.analyser.ear.weights.network`.
    """
    file = _place(content, middle)
    try:
        kept = _read(file)
    except OSError:
        kept = None
    if kept is None or not _answers(kept, pretrained):
        kept = _analysed(content, middle, pretrained)
        # Without a place to keep it, it is made again the next time.
        with suppress(OSError):
            _write(file, kept)
    rejected = kept.removeprefix(_REJECTED)
    if rejected != kept:
        raise InvalidAudio(rejected.decode())
    return kept


def is_cached(content: bytes, middle: float | None = None, pretrained: bool = False) -> bool:
    """Whether the outcome for a file is known."""
    file = _place(content, middle)
    if not pretrained:
        return file.exists()
    kept = _read(file)
    return kept is not None and _answers(kept, pretrained)


def reject(content: bytes, reason: str, middle: float | None = None) -> None:
    """Keeps a file from being analysed again: it has crashed the analyser, or never came to an end.

    An analysis without the ear stays.
    """
    file = _place(content, middle)
    with suppress(OSError):
        if _read(file) is None:
            _write(file, _REJECTED + reason.encode())


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
    ear = {} if analysis.ear is None else {"ear": analysis.ear.astype(np.float64).round(_DIGITS).tolist()}
    return json.dumps(
        {
            **ear,
            "analyser": analyser_name(),
            "notes": analysis.notes,
            "track": {"duration": round(analysis.duration, 5)},
            "segments": segments,
        }
    ).encode()


_REJECTED = b"rejected: "


class _Kept(msgspec.Struct):
    ear: msgspec.Raw = msgspec.Raw()


def _answers(kept: bytes, pretrained: bool) -> bool:
    """Whether what is kept is what is asked for: an analysis may have been made without the ear."""
    return not pretrained or kept.startswith(_REJECTED) or bool(bytes(msgspec.json.decode(kept, type=_Kept).ear))


def _analysed(content: bytes, middle: float | None, pretrained: bool) -> bytes:
    try:
        return to_json(analyse(io.BytesIO(content), middle, pretrained))
    except InvalidAudio as error:
        return _REJECTED + str(error).encode()


def _place(content: bytes, middle: float | None) -> Path:
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    part = "" if middle is None else f"-middle-{middle:g}"
    return cache_folder() / "analyses" / f"{analyser_name()}-{_code()}{part}" / digest[:2] / f"{digest}.json.gz"


@cache
def _code() -> str:
    """A hash of what decides an analysis: this package's files, and the libraries that decode and transform."""
    digest = hashlib.blake2b(digest_size=4)
    folder = Path(__file__).parent
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".py", ".json"):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    digest.update(" ".join(version(name) for name in ("av", "numpy", "scipy")).encode())
    return digest.hexdigest()


def _read(file: Path) -> bytes | None:
    """What is kept; None where nothing is, or nothing whole."""
    try:
        return gzip.decompress(file.read_bytes())
    except (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error):
        return None


def _write(file: Path, content: bytes) -> None:
    write_whole(file, gzip.compress(content, mtime=0))
