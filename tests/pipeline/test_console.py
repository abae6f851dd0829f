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
