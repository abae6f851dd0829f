"""``make benchmark``: what each component costs at several sizes of a catalogue.

The tracks are generated, or those of a catalogue that is given, beside which the original project's way of reading the
same files is measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from deepmusic_genre.demo import PROFILES, generate_catalogue
from deepmusic_genre.process import run_checkout_process
from pipeline.settings import Settings, load_settings

_PREPARATION = ("TrackExampleGen", "StatisticsGen", "Transform")
"""What stands between the files and the trainer."""

_PART = 4
"""A catalogue that is given is measured whole, and one in so many of its tracks."""

_SIZES = (1_000, 10_000, 100_000)
_MILLION = 1_000_000
_SAMPLE_SECONDS = 0.25

WHOLE = "all"
"""The row of the whole run."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds, and the peak of memory in MiB."""

    seconds: float
    cpu: float
    peak: float


class Meter:
    """Measures the components of a run; see :class:`pipeline.run.side_by_side.Observer`.

    The CPU time of those that ran side by side is that since the one before ended; the peak of memory is the whole
    run's while the component ran.
    """

    def __init__(self, samples: Path) -> None:
        """Begins to measure; ``samples`` is what :func:`sample_memory` writes."""
        self.costs: dict[str, Cost] = {}
        self._samples = samples
        self._begun = time.time()
        self._cpu = 0.0
        self._starts: dict[str, float] = {}
        self._add("start", self._begun)

    def started(self, component: str) -> None:
        """Starts measuring."""
        self._starts[component] = time.time()

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """Notes what the component cost."""
        del cached, seconds
        self._add(component, self._starts[component])

    def whole(self) -> Cost:
        """What all of it cost up to now."""
        return Cost(time.time() - self._begun, _cpu_seconds(), _peak(self._samples, 0))

    def _add(self, name: str, start: float) -> None:
        cpu = _cpu_seconds()
        self.costs[name] = Cost(time.time() - start, cpu - self._cpu, _peak(self._samples, start))
        self._cpu = cpu


def sample_memory(process: int, samples: Path) -> None:
    """Writes again and again what a process and those below it have in memory, but this one, for as long as it lives.

    A line is the time and MiB. What several share counts once (proportional set size, proc(5)).
    """
    with samples.open("w", buffering=1) as file:
        while (Path("/proc") / str(process)).exists():
            measured = [each for each in _tree(process) if each != os.getpid()]
            file.write(f"{time.time()} {sum(map(_mebibytes, measured))}\n")
            time.sleep(_SAMPLE_SECONDS)


def _tree(process: int) -> list[int]:
    found, new = [process], [process]
    while new:
        tasks = [task for each in new for task in Path(f"/proc/{each}/task").glob("*/children")]
        new = [int(child) for task in tasks for child in _read(task).split()]
        found += new
    return found


def _mebibytes(process: int) -> float:
    share = re.search(r"^Pss: +(\d+) kB$", _read(Path(f"/proc/{process}/smaps_rollup")), re.MULTILINE)
    return int(share[1]) / 1024 if share else 0.0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""  # The process has ended.


def _peak(samples: Path, since: float) -> float:
    lines = (line.split() for line in samples.read_text().splitlines() if line.count(" ") == 1)
    return max((float(mebibytes) for moment, mebibytes in lines if float(moment) >= since), default=0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the costs as a table."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of audio-analysis JSON, instead of generated tracks")
    parser.add_argument("--labels", type=Path, help="its CSV with track_id,genre")
    parser.add_argument("--tracks", type=int, nargs="+", default=_SIZES, help="numbers of generated tracks, ascending")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    options = parser.parse_args(arguments)
    # Wide enough for the table where there is no terminal to ask.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="deepmusic-") as name:
        catalogue = partial(_real, options) if options.data else partial(_generated, options)
        costs = {}
        for size in _sizes(parser, options):
            folder = Path(name) / str(size)
            with console.status(f"{size:,} tracks: the catalogue"):
                settings = catalogue(folder, size)
            with console.status(f"{size:,} tracks: measuring"):
                costs[size] = _in_fresh_process(_measure, settings)
            shutil.rmtree(folder)
        console.print(_table(costs))
        _print_marginal(console, costs)
        if options.data:
            with console.status("measuring: the original project's way"):
                seed = _in_fresh_process(_seeds_way, _files(options.data))
            console.print(f"{seed * 1000:8.1f} the original project: json.load, then arrays", highlight=False)
    return 0


def _sizes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[int]:
    if not options.data:
        return list(options.tracks)
    files = len(_files(options.data))
    if not files:
        parser.error(f"no audio-analysis JSON below {options.data}")
    return [files // _PART, files]


def _files(data: Path) -> list[Path]:
    return sorted(path.absolute() for path in data.rglob("*.json*"))


def _generated(options: argparse.Namespace, folder: Path, size: int) -> Settings:
    catalogue = generate_catalogue(folder / "data", tracks=size, artists=max(size // 5, len(PROFILES)))
    return _settings(options, folder, catalogue, catalogue / "labels.csv")


def _real(options: argparse.Namespace, folder: Path, size: int) -> Settings:
    files = _files(options.data)
    data = folder / "data"
    for number, file in enumerate(files[:: len(files) // size][:size]):
        # A folder a file: two files of one name may lie in different folders.
        link = data / str(number) / file.name
        link.parent.mkdir(parents=True)
        link.symlink_to(file)
    return _settings(options, folder, data, options.labels)


def _settings(options: argparse.Namespace, folder: Path, data: Path, labels: Path) -> Settings:
    given = {"data.path": str(data), "data.labels": str(labels), "output": str(folder / "output")}
    return load_settings(None, options.assignments, given)


def _in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function where nothing has been imported or allocated yet, and nobody hears what libraries log."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_silence) as pool:
        return pool.submit(function, *arguments).result()


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _measure(settings: Settings) -> dict[str, Cost]:
    samples = Path(settings.output) / "memory"
    samples.parent.mkdir(parents=True)
    samples.touch()
    sampler = multiprocessing.get_context("spawn").Process(target=sample_memory, args=(os.getpid(), samples))
    sampler.start()

    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from components.storage.staging import Copies
    from pipeline.create_pipeline import create_pipeline
    from pipeline.run.local_runner import LocalRunner
    from pipeline.run.machine import keep_to_cores, side_by_side

    home = Path(settings.home)
    home.mkdir()
    connection = sqlite_metadata_connection_config(str(home / "metadata.sqlite"))
    keep_to_cores(settings)
    pipeline = create_pipeline(settings, settings.artifacts, settings.pushed, connection)
    meter = Meter(samples)
    LocalRunner(meter, Copies(settings.copies), side_by_side(settings)).run(pipeline)
    whole = meter.whole()
    sampler.kill()
    return {**meter.costs, WHOLE: whole}


def _seeds_way(files: Sequence[Path]) -> float:
    """CPU seconds a track of the original project's way: ``json.load``, and the first 512 segments into arrays."""
    start = _cpu_seconds()
    timbre, pitches = (np.zeros((len(files), 512, 12)) for _ in range(2))
    for row, file in enumerate(files):
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            segments = json.load(stream)["segments"][:512]
        for place, segment in enumerate(segments):
            timbre[row, place] = segment["timbre"]
            pitches[row, place] = segment["pitches"]
    return (_cpu_seconds() - start) / len(files)


def _cpu_seconds() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _table(costs: dict[int, dict[str, Cost]]) -> Table:
    table = Table(title="wall-clock seconds, CPU seconds, peak of the run's memory in MiB")
    table.add_column("component", no_wrap=True)
    for size in costs:
        for heading in (f"{size:,} tracks, s", "CPU s", "MiB"):
            table.add_column(heading, justify="right", no_wrap=True)
    rows = {component: [of[component] for of in costs.values()] for component in costs[max(costs)]}
    for component, of_sizes in rows.items():
        cells = [f"{value:,.{digits}f}" for cost in of_sizes for value, digits in _numbers(cost)]
        table.add_row(component, *cells)
    return table


def _numbers(cost: Cost) -> list[tuple[float, int]]:
    return [(cost.seconds, 1), (cost.cpu, 1), (cost.peak, 0)]


def _print_marginal(console: Console, costs: dict[int, dict[str, Cost]]) -> None:
    """What each further track costs from a size to the next, and what a million would."""
    sizes = list(costs)
    for fewer, more in pairwise(sizes):
        less, whole = costs[fewer][WHOLE], costs[more][WHOLE]
        preparation = [sum(costs[size][component].cpu for component in _PREPARATION) for size in (fewer, more)]
        tracks = more - fewer
        console.print(f"from {fewer:,} to {more:,} tracks, for each further track, CPU ms:", highlight=False)
        console.print(f"{(whole.cpu - less.cpu) / tracks * 1000:8.1f} the whole run", highlight=False)
        shown = (preparation[1] - preparation[0]) / tracks * 1000
        console.print(f"{shown:8.1f} {', '.join(_PREPARATION)}", highlight=False)
    if len(sizes) > 1:
        further = (_MILLION - more) / tracks
        hours = (whole.seconds + further * (whole.seconds - less.seconds)) / 3600
        memory = whole.peak + further * (whole.peak - less.peak)
        console.print(f"projected to {_MILLION:,} tracks: {hours:.1f} hours, {memory:,.0f} MiB", highlight=False)


if __name__ == "__main__":
    run_checkout_process(main)
