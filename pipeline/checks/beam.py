"""Whether Beam's workers are there and run what this process runs, found out before a run.

Without a worker, or with one that dies while it starts, a Beam job waits for ever and says nothing.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from components.storage.files import fileio
from components.storage.places import is_remote
from deepmusic_genre.errors import PipelineInputError
from pipeline.checks.beam_worker import Answer, Question, answer, own_versions
from pipeline.engine import CANCEL_SECONDS, cancel, engine_jobs, in_process, log

_ELSEWHERE = "DataflowRunner"
"""Its machines share no disk with this one; to let them find that out takes minutes."""

_POOL_LIMIT_SECONDS = 120
_LIMIT_SECONDS = 900
"""Where machines or containers are started first."""

_SUBMIT_SECONDS = 120
"""What it takes to import Beam, and to hand a job over to a server that is slow."""

_CONNECT_SECONDS = 5
_NO_WORKER = 3
_FAILED = 4
_NOT_REACHED = 5
_DETAILS = re.compile(r'details = "(.*)"')
_ROOT = Path(__file__).parents[2]


def require_workers(
    arguments: Sequence[str],
    folder: str,
    places: Sequence[str],
    tell: Callable[[str], None],
    limit: float | None = None,
) -> None:
    """Has a worker of the configured runner say what it is; nothing for runners that work in this process.

    Args:
        arguments: Beam's options.
        folder: where the run writes; the worker has to see it.
        places: what else the worker has to see.
        tell: is told what is waited for.
        limit: seconds to wait for an answer; None takes what the runner needs.

    Raises:
        PipelineInputError: there is no worker, or it is another than the run needs.
    """
    options = PipelineOptions(list(arguments))
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    if in_process(runner):
        return
    name = runner.rpartition(".")[2]
    local = [place for place in (folder, *places) if not is_remote(place)]
    if name == _ELSEWHERE and local:
        raise PipelineInputError(
            f"Dataflow's workers do not see {', '.join(local)}: storage has to be gs://, data that or s3://."
        )
    portable = options.view_as(PortableOptions)
    pool = portable.environment_config if portable.environment_type == "EXTERNAL" else None
    _require_listening(portable.job_endpoint)
    tell(f"Asking a worker of {name} what it is")
    fileio.makedirs(folder)
    question = Question(f"{folder}/.beam-{uuid4().hex}", tuple(places))
    _ask(question, arguments, limit or (_POOL_LIMIT_SECONDS if pool else _LIMIT_SECONDS), pool)
    _require_equal(_answer(question, name))


def _require_listening(job_endpoint: str | None) -> None:
    if job_endpoint and not _listens(job_endpoint):
        raise PipelineInputError(
            f"Beam's job server does not listen at {job_endpoint} (--job_endpoint in beam.args): start it, as"
            " make beam-cluster does."
        )


def _is_here(address: str) -> bool:
    return address.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _ask(question: Question, arguments: Sequence[str], limit: float, pool: str | None) -> None:
    """Submits the job in a process of its own: what waits for a worker that there is not can only be killed."""
    command = [sys.executable, "-m", "pipeline.checks.beam", msgspec.json.encode(question).decode(), str(limit)]
    # Ctrl-C is for this process alone, which has the other one cancel its job.
    with subprocess.Popen(  # noqa: S603 - this module
        [*command, *arguments], cwd=_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as asking:
        try:
            output, _ = asking.communicate(timeout=limit + _SUBMIT_SECONDS + CANCEL_SECONDS)
            code = asking.returncode
        except subprocess.TimeoutExpired:
            output, code = _end(asking), _NO_WORKER
        except KeyboardInterrupt:
            for line in _end(asking).splitlines():
                log.info("%s", line)
            raise
    told = output.strip().rpartition("\n")[2].rstrip(".")
    if code == _NO_WORKER:
        told = f" {told}." if told else ""
        raise PipelineInputError(f"None of Beam's workers answered within {limit:g} s.{told} {_causes(pool)}")
    if code == _NOT_REACHED:
        raise PipelineInputError(f"Beam's workers or its job server cannot be reached: {told}. {_causes(pool)}")
    if code:
        raise PipelineInputError(f"Beam's workers cannot run this project's code: {told or 'see the log'}.")


def _end(asking: subprocess.Popen[str]) -> str:
    """Has the process cancel its job; returns what it says of that."""
    asking.terminate()
    try:
        return asking.communicate(timeout=CANCEL_SECONDS + _CONNECT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return ""
    finally:
        asking.kill()


def _causes(pool: str | None) -> str:
    """Why a job gets no worker: an engine does not say."""
    if pool is None:
        return "The runner's own log says what became of them."
    where = pool
    if _is_here(pool):
        where += f" on every machine that works for the engine (on this one {'one' if _listens(pool) else 'none'} does)"
    return (
        f"Worker pools have to listen at {where}. Each of Flink's task managers needs a pool of its own: two that share"
        " one ask it for the same worker, and the job waits for ever. A pool starts workers with the first python on"
        f" its PATH, which has to be that of this project's environment ({sys.executable}), in a folder with this"
        " project's code; its output says what became of them."
    )


def _answer(question: Question, runner: str) -> Answer:
    if not fileio.exists(question.answer):
        folder = question.answer.rpartition("/")[0]
        raise PipelineInputError(
            f"What a worker of {runner} wrote to {folder} is not there: it writes to a disk of its own. storage has to"
            " name a place that the workers and this machine share."
        )
    with fileio.open(question.answer, "rb") as file:
        found = msgspec.json.decode(file.read(), type=Answer)
    fileio.remove(question.answer)
    return found


def _require_equal(found: Answer) -> None:
    if found.unseen:
        raise PipelineInputError(f"Beam's workers do not see {', '.join(found.unseen)}.")
    for name, own in own_versions().items():
        other = found.versions.get(name, "none")
        if other != own:
            raise PipelineInputError(
                f"Beam's workers are not those of this run: {name} is {other} there and {own} here. Start them anew,"
                " with this environment and this code."
            )


def _main(encoded: str, limit: float, arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # For the process that asked, as all that is printed here.
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.setLevel(logging.INFO)
    pipeline = beam.Pipeline(options=PipelineOptions(list(arguments)))
    pipeline | beam.Create([msgspec.json.decode(encoded, type=Question)]) | beam.Map(answer)
    try:
        with engine_jobs():
            result = pipeline.run()
            state = result.wait_until_finish(duration=int(limit * 1000))
    except KeyboardInterrupt:
        return _NO_WORKER
    except Exception as error:  # A runner raises what it likes; the last line of a worker's trace says what it is.
        text = str(error).strip()
        unavailable = "UNAVAILABLE" in text and _DETAILS.findall(text)
        print(unavailable[-1] if unavailable else text.rpartition("\n")[2])  # noqa: T201 - see above
        return _NOT_REACHED if unavailable else _FAILED
    if not PipelineState.is_terminal(state):
        cancel(result, pipeline.options)
        return _NO_WORKER
    return 0


if __name__ == "__main__":
    code = _main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
    sys.stdout.flush()
    # Beam's threads may be waiting still, and Python would wait for them.
    os._exit(code)
