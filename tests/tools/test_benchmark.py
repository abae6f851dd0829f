"""What a run's processes have in memory."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools.benchmark import sample_memory

pytestmark = [pytest.mark.fast, pytest.mark.skipif(sys.platform != "linux", reason="it reads Linux's /proc")]

_MEBIBYTES = 64
_CHILD = f"full = bytearray(b'x') * ({_MEBIBYTES} << 20); print('there', flush=True); input()"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}])"


def test_memory_is_that_of_a_process_and_of_those_below_it(tmp_path: Path) -> None:
    samples = tmp_path / "memory"
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        sampling = threading.Thread(target=sample_memory, args=(process.pid, samples))
        sampling.start()
        while not samples.exists() or not samples.read_text().endswith("\n"):
            assert sampling.is_alive()
        process.stdin.write("\n")
    sampling.join()
    first = float(samples.read_text().split()[1])
    assert _MEBIBYTES < first < 3 * _MEBIBYTES
