"""``make beam-cluster``: a Beam job server and a worker pool on this machine, each a process of its own.

For trying the portable runner. Beam's own ``worker_pool_main`` listens on every network, where anyone may start workers
on it, and starts them with whatever ``python`` comes first.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepmusic_genre.quiet import silent_import

with silent_import():
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
    from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

_ROOT = Path(__file__).parent.parent
_JOB_SERVER = "apache_beam.runners.portability.local_job_service_main"


class _Pool(BeamFnExternalWorkerPoolServicer):
    """Beam's pool, which can be told to stop."""

    def __init__(self) -> None:
        super().__init__(use_process=True)
        self._started: set[str] = set()

    def StartWorker(
        self, start_worker_request: beam_fn_api_pb2.StartWorkerRequest, unused_context: Any
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Starts a worker."""
        self._started.add(start_worker_request.worker_id)
        return super().StartWorker(start_worker_request, unused_context)

    def stop(self) -> None:
        """Ends every worker that still runs."""
        for worker in self._started:
            self.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=worker), None)


def beam_arguments(job_port: int, pool_port: int) -> list[str]:
    """What ``beam.args`` has to be for a run to use the cluster."""
    return [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job_port}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool_port}",
        "--sdk_container_image=none",
        "--tfxio_use_byte_size_batching",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cluster until it is stopped; 1 if it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m tools.beam_cluster", description=__doc__)
    parser.add_argument("--job-port", type=int, default=8099, help="the job server's (8099)")
    parser.add_argument("--pool-port", type=int, default=50000, help="the worker pool's (50000)")
    options = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    # Workers are started with the first python on the PATH, and find the code in the folder that they are started in.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # In each of these processes Google's packages warn of Python versions that they will leave behind.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    os.chdir(_ROOT)
    pool = _Pool()
    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(f"127.0.0.1:{options.pool_port}")
    except RuntimeError as error:
        print(f"The worker pool cannot listen on port {options.pool_port}: {error}", file=sys.stderr)
        return 1
    server.start()
    with subprocess.Popen([sys.executable, "-m", _JOB_SERVER, f"--port={options.job_port}"]) as jobs:
        print("Beam's job server and worker pool. In a settings file, or as SET=\"beam.args='[…]'\":", flush=True)
        print(f"beam: {{args: [{', '.join(beam_arguments(options.job_port, options.pool_port))}]}}", flush=True)
        while not stopped.wait(0.5) and jobs.poll() is None:
            pass
        jobs.terminate()
    server.stop(0)
    pool.stop()
    if stopped.is_set():
        return 0
    print(f"The job server ended, with {jobs.returncode}: is port {options.job_port} free?", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
