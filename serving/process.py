"""How a command's process ends that has TensorFlow in it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run_process(main: Callable[[], int]) -> NoReturn:
    """Runs a command to the end of its process.

    That ends after Python's own exit functions, without the destructors of C++ libraries. TensorFlow, Arrow and gRPC
    leave threads behind, and now and then one of them aborts a process that takes itself apart: SIGABRT in place of the
    command's exit code, with all work done.

    Args:
        main: answers with the exit code. What it raises ends the process as it does any other.
    """
    code: int | None = None

    def leave() -> None:
        if code is None:
            return
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    # The first one registered runs last: before it come those of the libraries that main imports.
    atexit.register(leave)
    code = main()
    sys.exit(code)
