"""What freed memory costs a process that has many threads."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.fast, pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")]

_SCRIPT = """
import threading
from pathlib import Path
from deepmusic_genre.memory import give_memory_back, spare_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def fill(kept):
    blocks = [bytearray(50_000) for _ in range(200)]
    kept.append(blocks[-1])  # What stays at the end of an arena keeps all before it.

spare_memory()
before, kept = resident(), []
for _ in range(2):
    threads = [threading.Thread(target=fill, args=(kept,)) for _ in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
give_memory_back()
print(resident() - before)
"""


def test_freed_memory_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", _SCRIPT]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Of 320 MB at most, 1.6 are kept.
    assert float(printed) < 10
