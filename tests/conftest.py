"""One run of the whole pipeline, as a user starts it, whose artifacts many tests look at."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deepmusic_genre import Prediction, Track, predict
from deepmusic_genre.process import PYTHON_VARIABLES
from tests.support import forks
from tests.support.command import run_or_demo, with_settings
from tests.support.tracks import analysis, write_analysis, write_catalogue

if TYPE_CHECKING:
    from tests.support.endpoints import Endpoints

ROOT = Path(__file__).parent.parent
REAL_DATA = "DEEPMUSIC_REAL_DATA"
"""Environment variable: the folder of real analyses and sound."""

_NOBODY = 65534
_FORKS = pytest.StashKey[Path]()
LONG_SEGMENTS = 600
"""Segments of the fixture's longest track: more than a network reads."""


def run_local(arguments: Sequence[str], timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Runs the pipeline by ``deepmusic run`` or ``deepmusic demo`` in a process of its own."""
    return forks.run("deepmusic_genre", [run_or_demo(arguments), *with_settings(arguments)], timeout)


def pytest_configure(config: pytest.Config) -> None:
    for name in PYTHON_VARIABLES:
        os.environ.pop(name, None)  # A command that is called in this process would start it again.
    if not hasattr(config, "workerinput"):
        # Short, as sockets' paths have to be.
        config.stash[_FORKS] = folder = Path(tempfile.mkdtemp(prefix="forks-"))
        os.environ[forks.SOCKET] = str(folder / "socket")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FORKS in config.stash:
        forks.stop(config.stash[_FORKS] / "socket")
        shutil.rmtree(config.stash[_FORKS])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has one worker make what many files look at, at once, while the others have what needs nothing of it."""
    users = dict.fromkeys(item.path for item in items if "finished_run" in getattr(item, "fixturenames", ()))
    first = next(iter(users), None)
    items.sort(key=lambda item: (item.path != first, item.path in users))


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Lets a folder's modes count even for root, whom they do not stop: for a while, root is the folder's owner."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    closed = [each for each in folder.parents if each.stat().st_mode & 0o005 != 0o005]
    for parent in closed:
        parent.chmod(0o755)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def predicted(tracks: Iterable[Track], url: str, **arguments: Any) -> list[Prediction]:
    """Every track's prediction by a served model."""
    return [answer for answer in predict(tracks, url, **arguments) if isinstance(answer, Prediction)]


def artifacts(home: Path, component: str, key: str) -> list[Path]:
    """The folders of a component's outputs in all runs, the oldest first."""
    return sorted(home.glob(f"artifacts/*/{component}/{key}/*"), key=lambda folder: int(folder.name))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock that all of pytest's workers know by its file."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind.

    All of pytest's workers share it: a test that writes into its home, or looks at all of it, does so :meth:`alone`.
    """

    arguments: tuple[str, ...]
    home: Path
    data: Path
    labels: Path
    stdout: str
    again: str
    """What the same command printed a second time."""

    def alone(self) -> AbstractContextManager[None]:
        """Keeps those out that would do so too."""
        return locked(self.home.parent / "lock")

    def artifact(self, component: str, key: str) -> Path:
        """The folder of a component's latest output."""
        return artifacts(self.home, component, key)[-1]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with locked(shared / "run.lock"):
        outcome = shared / "run.json"
        if not outcome.exists():
            run = _run_twice(shared / "run")
            outcome.write_text(json.dumps(asdict(run), default=str))
        found = json.loads(outcome.read_text())
    places = {name: Path(found[name]) for name in ("home", "data", "labels")}
    return FinishedRun(**{**found, **places, "arguments": tuple(found["arguments"])})


def _run_twice(folder: Path) -> FinishedRun:
    shutil.rmtree(folder, ignore_errors=True)  # Another worker's, that failed.
    folder.mkdir()
    data, labels = write_catalogue(folder, tracks=60)
    write_analysis(data / "track-000.json.gz", analysis(0, segments=LONG_SEGMENTS))
    arguments = (
        *("--data", str(data), "--labels", str(labels), "--name", "small"),
        *(f"output={folder / 'output'}", "training.models=[c1m1, tangent, ear]"),
        *("models.c1m1.epochs=12", "models.c1m1.batch_size=8"),
    )
    printed = []
    for _ in range(2):
        result = run_local(arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        printed.append(result.stdout)
    return FinishedRun(arguments, folder / "output" / "small", data, labels, *printed)


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not have the pretrained network, and cannot fetch it."""
    monkeypatch.setenv("DEEPMUSIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"{REAL_DATA} names no folder of real analyses")
    return Path(folder)


@pytest.fixture(scope="session")
def endpoints(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Endpoints]":
    from tests.support.endpoints import stand_in

    with stand_in(finished_run.home / "pushed", tmp_path_factory.mktemp("models")) as running:
        yield running
