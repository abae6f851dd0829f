"""``python -m serving.server --model_base_path … --rest_api_port 8501``: a model, for development."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings

from deepmusic_genre.process import run_checkout_process
from deepmusic_genre.quiet import silent_import

with silent_import():
    import tensorflow as tf
    from uvicorn.importer import import_from_string

    from serving.server.app import serve, stop_on_signals
    from serving.server.flags import PROGRAM, ServerOptions, UsageError, parse_flags

PAGE = "serving.page:page_application"
"""What ``--page`` serves: named here and imported nowhere, since the server does not know its page."""


def main() -> int:
    """Serves until it is told to stop; 2 for a mistake in the flags."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("serving").setLevel(logging.INFO)
    # What clients send wrong is their answer, not a trace or a warning here.
    warnings.filterwarnings("ignore", "Unexpected end-group tag", RuntimeWarning)
    for noisy in ("uvicorn.error", "grpc", "grpc._cython.cygrpc", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    tf.get_logger().setLevel(logging.ERROR)
    tf.get_logger().propagate = False
    # A thread that ran the model should not wait 5 ms for the one that reads requests: several could be answered.
    sys.setswitchinterval(0.0005)
    try:
        options = parse_flags(sys.argv[1:])
        asyncio.run(_run(options))
    except UsageError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 2
    return 0


async def _run(options: ServerOptions) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    page = import_from_string(PAGE) if options.page else None
    await serve(options, lambda: _tell_ready(options), stop, page)


def _tell_ready(options: ServerOptions) -> None:
    where = [f"REST on {options.host}:{options.rest_port}"] if options.rest_port else []
    where += [f"gRPC on {options.host}:{options.port}"] if options.port else []
    where += [f"a page at http://{options.host}:{options.rest_port}/"] if options.rest_port and options.page else []
    sys.stdout.write(f"{PROGRAM}: ready, {options.name}: {', '.join(where)} (for development only)\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run_checkout_process(main)
