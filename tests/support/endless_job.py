"""A job that runs until it is cancelled, submitted as a command of this project submits its own."""

import logging
import sys
import time
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from deepmusic_genre.process import exit_code_of, run_process
from pipeline.engine import engine_jobs


def _begin_and_stay(sign: str) -> None:
    Path(sign).touch()
    while True:
        time.sleep(0.1)


def main() -> int:
    """Runs the job; the first argument names the file that the worker makes when it has begun."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.CRITICAL)
    logging.getLogger("deepmusic").setLevel(logging.INFO)
    sign, *arguments = sys.argv[1:]
    try:
        with engine_jobs(), beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            pipeline | beam.Create([sign]) | beam.Map(_begin_and_stay)
    except KeyboardInterrupt as stop:
        return exit_code_of(stop)
    return 0


if __name__ == "__main__":
    run_process(main)
