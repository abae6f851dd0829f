"""Work in a process that was forked for it."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from components.forks import Died, Forks, Work, all_done
from deepmusic_genre.errors import GateClosed
from tests.conftest import ROOT

pytestmark = pytest.mark.fast

_SECONDS = 30

_ORPHAN = """
import os, sys, time
from pathlib import Path
from components.forks import Forks

def work():
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)

Forks().start(work)(print)
"""


class Unsendable(Exception):
    def __init__(self, text: str, more: object) -> None:
        super().__init__(text)
        self.more = more


def done(work: Work, forks: Forks | None = None) -> tuple[bytes, list[logging.LogRecord]]:
    heard: list[logging.LogRecord] = []
    return (forks or Forks()).start(work)(heard.append), heard


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_answer_and_what_is_logged_come_from_another_process() -> None:
    def work() -> bytes:
        logging.getLogger("deepmusic.Work").warning("half of %s", "it", extra={"progress": True})
        return str(os.getpid()).encode()

    answer, heard = done(work)
    assert int(answer) != os.getpid()
    assert [(record.name, record.getMessage(), getattr(record, "progress", False)) for record in heard] == [
        ("deepmusic.Work", "half of it", True)
    ]


def test_what_was_raised_is_raised_here_with_its_trace() -> None:
    def work() -> bytes:
        raise GateClosed("two anomalies")

    with pytest.raises(GateClosed, match=r"^two anomalies$") as caught:
        done(work)
    assert "in work" in str(caught.value.__cause__)


def test_what_cannot_be_sent_is_told() -> None:
    def work() -> bytes:
        raise Unsendable("no way", lambda: None)

    with pytest.raises(RuntimeError, match=r"^Unsendable: no way$"):
        done(work)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed, perhaps because memory was short"),
        (lambda: os.kill(os.getpid(), signal.SIGUSR1), "ended by SIGUSR1"),
        (lambda: os._exit(3), "ended with code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "was stopped"),
    ],
)
def test_a_process_that_ends_before_its_work_is_told(ending: Callable[[], None], told: str) -> None:
    def work() -> bytes:
        ending()
        time.sleep(_SECONDS)
        return b""

    with pytest.raises(Died, match=told):
        done(work)


@pytest.mark.parametrize("deaf", [False, True])
def test_all_are_stopped_and_none_begins_after_that(deaf: bool, tmp_path: Path) -> None:
    def work() -> bytes:
        if deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        (tmp_path / "begun").touch()
        time.sleep(_SECONDS)
        return b""

    forks = Forks()
    answer = forks.start(work)
    wait_for((tmp_path / "begun").exists)
    forks.stop(signal.SIGINT, 0.2 if deaf else _SECONDS)
    with pytest.raises(Died, match="killed" if deaf else "stopped"):
        answer(lambda _: None)
    with pytest.raises(Died):
        forks.start(work)


def test_several_things_are_done_at_the_same_time(tmp_path: Path) -> None:
    def meet(name: str, other: str) -> None:
        (tmp_path / name).touch()
        wait_for((tmp_path / other).exists)

    all_done([partial(meet, "a", "b"), partial(meet, "b", "a")])


def test_when_one_of_several_raises_the_others_are_stopped() -> None:
    def fail() -> None:
        raise GateClosed("no room")

    start = time.monotonic()
    with pytest.raises(GateClosed, match="no room"):
        all_done([partial(time.sleep, _SECONDS), fail])
    assert time.monotonic() - start < _SECONDS


def test_a_process_ends_with_the_one_that_forked_it(tmp_path: Path) -> None:
    note = tmp_path / "process"
    parent = subprocess.Popen([sys.executable, "-c", _ORPHAN, str(note)], cwd=ROOT)
    wait_for(lambda: note.exists() and note.read_text() != "")
    parent.kill()
    parent.wait()
    # Of what nobody waits for, a container may keep the entry.
    state = Path(f"/proc/{note.read_text()}/stat")
    wait_for(lambda: not state.exists() or ") Z " in state.read_text())
