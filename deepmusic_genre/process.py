"""How a command's process ends that has TensorFlow in it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

_NOT_FLUSHED = 120
"""Python's own exit code for that."""


def run_process(main: Callable[[], int]) -> NoReturn:
    """Runs a command to the end of its process.

    That ends without the destructors of C++ libraries. TensorFlow, Arrow and gRPC leave threads behind, and now and
    then one of them aborts a process that takes itself apart: SIGABRT in place of the command's exit code, with all
    work done. Exit functions run that were registered since the call, not those from before it.

    Args:
        main: answers with the exit code. What it raises ends the process as it does any other.
    """
    code: int | None = None

    def leave() -> None:
        if code is None:
            return
        logging.shutdown()
        os._exit(code if _flush() else _NOT_FLUSHED)

    # The first one registered runs last: before it come those of the libraries that main imports.
    atexit.register(leave)
    code = main()
    sys.exit(code)


def _flush() -> bool:
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # As it is where the caller has closed it.
                stream.flush()
    except OSError:
        return False
    return True
