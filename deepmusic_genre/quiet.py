"""TensorFlow without what it has to say about the machine."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


@contextmanager
def silent_import() -> Iterator[None]:
    """While TensorFlow or gRPC is imported in it, nothing reaches standard error.

    TensorFlow tells of every library it lacks, newer ones straight to the descriptor, whatever the level. Google's
    packages warn of Python versions that they will leave behind.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # What fails is told by who called it.
    sys.stderr.flush()
    kept = os.dup(_STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STANDARD_ERROR)
    os.close(nowhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
