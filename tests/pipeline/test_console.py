"""What a run shows where nobody looks at a terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.fast

_SCRIPT = """
import sys
from pathlib import Path
from pipeline import console
console._QUIET_SECONDS = float(sys.argv[1])
terminal = console.Terminal(Path(sys.argv[2]), verbose=False)
terminal.started("Trainer")
terminal.moment("Trainer: half of it")
terminal.finished("Trainer", 1.0, cached=False)
"""


@pytest.mark.parametrize(
    ("quiet", "lines"), [(3600, ["Trainer"]), (0, ["Trainer", "Trainer: half of it", "Trainer"])], ids=["busy", "quiet"]
)
def test_off_a_terminal_a_long_silence_is_broken(quiet: int, lines: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(quiet), str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.removesuffix("1.0 s").rstrip() for line in printed.splitlines()] == lines


_TWO = """
import logging
import sys
from pathlib import Path
from pipeline.console import Terminal

def said(component, text):
    logging.getLogger("deepmusic.Trainer").info(text, extra={"component": component})

terminal = Terminal(Path(sys.argv[1]), verbose=False)
terminal.started("Trainer-a")
said("Trainer-a", "a alone")
terminal.started("Trainer-b")
said("Trainer-a", "a beside b")
said("Trainer-b", "b beside a")
terminal.finished("Trainer-b", 1.0, cached=False)
said("Trainer-a", "a alone again")
terminal.failure("Trainer-a: ", ValueError("no"))
"""


def test_what_components_say_at_the_same_time_is_told_apart(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TWO, str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    said = [line.removesuffix("1.0 s").strip() for line in printed.splitlines()]
    assert said[:-2] == ["a alone", "b beside a", "Trainer-b", "a beside b", "a alone again"]
    assert said[-2] == "Trainer-a: failed, ValueError: no"
    (log,) = tmp_path.glob("*.log")
    assert "a beside b" in log.read_text()
