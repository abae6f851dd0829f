"""Airflow's processes: started again when they end, ended when their supervisor is told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.airflow.services import PortTaken, supervise
from tests.conftest import ROOT, free_port
from tests.support.airflow_steps import is_alive

pytestmark = pytest.mark.slow

_SUPERVISE = """
import os, sys
from pipeline.airflow.services import supervise
supervise([["/bin/sh", "-c", f"sleep 600 & echo $! >> {sys.argv[1]}.left; echo $$ >> {sys.argv[1]}; exec sleep 600"]],
          os.environ, sys.argv[2])
"""


def _started(file: Path, times: int) -> list[int]:
    end = time.monotonic() + 30
    while not file.exists() or len(file.read_text().split()) < times:
        assert time.monotonic() < end
        time.sleep(0.1)
    return [int(process) for process in file.read_text().split()]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_killed_is_started_again_and_ends_with_the_others(
    stop: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _SUPERVISE, str(tmp_path / "started"), f"http://127.0.0.1:{free_port()}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        (first,) = _started(tmp_path / "started", 1)
        os.kill(first, signal.SIGKILL)
        _, second = _started(tmp_path / "started", 2)
        supervisor.send_signal(stop)
        output, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 0
    assert "/bin/sh -c ended with -9; starting it again" in output
    for process in (second, *_started(tmp_path / "started.left", 2)):
        assert not is_alive(process)


def test_a_port_that_somebody_listens_on_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(PortTaken, match=f"Something listens on {address} already"):
            supervise([["/no/such/command"]], os.environ, address)
