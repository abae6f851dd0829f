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
import resource
import shutil
import sys
import tempfile
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

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds, and the peak of resident memory in MiB."""

    seconds: float
    cpu: float
    peak: float


class Meter:
    """Measures the components of a run; see :class:`pipeline.run.local_runner.Observer`."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}
        self._cpu = 0.0

    def started(self, component: str) -> None:
        """Starts measuring."""
        del component
        self._cpu = _cpu_seconds()
        # Lets the peak of resident memory be measured anew.
        Path("/proc/self/clear_refs").write_text("5")

    def finished(self, component: str, seconds: float, cached: bool) -> None:
        """Notes what the component cost."""
        del cached
        self.costs[component] = Cost(seconds, _cpu_seconds() - self._cpu, _peak_mebibytes())


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
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from components.storage.staging import Copies
    from pipeline.create_pipeline import create_pipeline
    from pipeline.run.local_runner import LocalRunner

    meter = Meter()
    home = Path(settings.home)
    home.mkdir(parents=True)
    pipeline = create_pipeline(
        settings,
        settings.artifacts,
        settings.pushed,
        sqlite_metadata_connection_config(str(home / "metadata.sqlite")),
    )
    meter.costs["start"] = Cost(0.0, _cpu_seconds(), _peak_mebibytes())
    LocalRunner(meter, Copies(settings.copies)).run(pipeline)
    return meter.costs


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


def _peak_mebibytes() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def _table(costs: dict[int, dict[str, Cost]]) -> Table:
    table = Table(title="wall-clock seconds, CPU seconds, peak of resident memory in MiB")
    table.add_column("component", no_wrap=True)
    for size in costs:
        for heading in (f"{size:,} tracks, s", "CPU s", "MiB"):
            table.add_column(heading, justify="right", no_wrap=True)
    rows = {component: [of[component] for of in costs.values()] for component in costs[max(costs)]}
    for component, of_sizes in rows.items():
        cells = [f"{value:,.{digits}f}" for cost in of_sizes for value, digits in _numbers(cost)]
        table.add_row(component, *cells)
    whole = [_whole(of) for of in costs.values()]
    table.add_row("all", *(f"{value:,.{digits}f}" for cost in whole for value, digits in _numbers(cost)))
    return table


def _numbers(cost: Cost) -> list[tuple[float, int]]:
    return [(cost.seconds, 1), (cost.cpu, 1), (cost.peak, 0)]


def _whole(costs: dict[str, Cost]) -> Cost:
    seconds, cpu, peak = zip(*((cost.seconds, cost.cpu, cost.peak) for cost in costs.values()), strict=True)
    return Cost(sum(seconds), sum(cpu), max(peak))


def _print_marginal(console: Console, costs: dict[int, dict[str, Cost]]) -> None:
    """What each further track costs from a size to the next, and what a million would."""
    sizes = list(costs)
    for fewer, more in pairwise(sizes):
        less, whole = _whole(costs[fewer]), _whole(costs[more])
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
