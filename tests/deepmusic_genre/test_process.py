"""Tests of how a command's process ends."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

ABORTING = """
    import atexit, ctypes, sys
    from deepmusic_genre.process import run_process

    def main():
        # As the destructor of a library does whose thread is in the middle of something.
        libc = ctypes.CDLL(None)
        libc.on_exit(libc.abort, None)
        atexit.register(print, "cleared")
        print("done")
        {end}
"""


def run(end: str, how: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that ends in the given way, in a process of its own."""
    program = textwrap.dedent(ABORTING).format(end=end) + how
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [0, 3])
def test_a_library_that_aborts_at_the_exit_takes_no_exit_code(code: int) -> None:
    assert run(f"return {code}", "sys.exit(main())").returncode < 0
    ended = run(f"return {code}", "run_process(main)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "done\ncleared\n", "")


def test_what_a_command_raises_is_shown() -> None:
    ended = run('raise ValueError("broken")', "run_process(main)")
    assert ended.returncode != 0
    assert ended.stderr.rstrip().endswith("ValueError: broken")


def test_wrong_usage_keeps_its_exit_code() -> None:
    program = "import sys; from deepmusic_genre.process import run_process; run_process(lambda: sys.exit(2))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 2


def test_output_that_nobody_takes_is_no_reason_to_abort() -> None:
    program = textwrap.dedent(ABORTING).format(end="return 0") + "run_process(main)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=full, env=buffered, check=False)
    assert ended.returncode == 120
