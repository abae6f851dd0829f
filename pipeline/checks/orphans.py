"""Processes whose caller dies."""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread


def end_with_stdin() -> None:
    """Ends this process and all that it starts as soon as nobody holds the other end of its standard input.

    A runner that is killed ends nothing that it has started, and its next try must not find this one still writing.
    """
    os.setpgid(0, 0)
    Thread(target=_end_at_eof, args=(os.dup(sys.stdin.fileno()),), daemon=True).start()


def _end_at_eof(caller: int) -> None:
    while os.read(caller, 1):
        pass
    os.killpg(0, signal.SIGKILL)
