"""``make benchmark``: what each component costs, beside the original project's way of reading the same files."""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from deepmusic_genre.process import run_checkout_process
from pipeline.settings import Settings, load_settings

_PREPARATION = ("TrackExampleGen", "StatisticsGen", "Transform")
"""What stands between the files and the trainer."""

_PART = 4
"""The costs of a track are those of the whole catalogue less those of one in so many tracks."""

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
    parser.add_argument("--data", type=Path, required=True, help="folder of audio-analysis JSON")
    parser.add_argument("--labels", type=Path, required=True, help="CSV with track_id,genre")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    options = parser.parse_args(arguments)
    texts = {"data.path": str(options.data), "data.labels": str(options.labels)}
    settings = load_settings(None, options.assignments, texts)
    files = sorted(path.absolute() for path in options.data.rglob("*.json*"))
    if not files:
        parser.error(f"no audio-analysis JSON below {options.data}")
    # Wide enough for the table where there is no terminal to ask.
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="deepmusic-") as name:
        folder = Path(name)
        with console.status("measuring: a part of the catalogue"):
            part = _in_fresh_process(_measure, _linked(settings, files[::_PART], folder / "part"))
        with console.status("measuring: the whole catalogue"):
            whole = _in_fresh_process(_measure, _linked(settings, files, folder / "whole"))
        with console.status("measuring: the original project's way"):
            seed = _in_fresh_process(_seeds_way, files)
    console.print(_table(part, whole, len(files[::_PART]), len(files)))
    _print_ratios(console, part, whole, len(files) - len(files[::_PART]), len(files), seed)
    return 0


def _in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function where nothing has been imported or allocated yet, and nobody hears what libraries log."""
    with multiprocessing.get_context("spawn").Pool(1, _silence) as pool:
        return pool.apply(function, arguments)


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _linked(settings: Settings, files: Sequence[Path], folder: Path) -> Settings:
    data = folder / "data"
    data.mkdir(parents=True)
    for number, file in enumerate(files):
        # A folder a file: two files of one name may lie in different folders.
        link = data / str(number) / file.name
        link.parent.mkdir()
        link.symlink_to(file)
    return settings.model_copy(
        update={"data": settings.data.model_copy(update={"path": str(data)}), "output": str(folder / "output")}
    )


def _measure(settings: Settings) -> dict[str, Cost]:
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

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
    LocalRunner(meter).run(pipeline)
    return meter.costs


def _seeds_way(files: Sequence[Path]) -> float:
    """CPU seconds of reading the first 512 segments into arrays with ``json.load``, as the original project did."""
    start = _cpu_seconds()
    timbre, pitches = (np.zeros((len(files), 512, 12)) for _ in range(2))
    for row, file in enumerate(files):
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            segments = json.load(stream)["segments"][:512]
        for place, segment in enumerate(segments):
            timbre[row, place] = segment["timbre"]
            pitches[row, place] = segment["pitches"]
    return _cpu_seconds() - start


def _cpu_seconds() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _peak_mebibytes() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def _table(part: dict[str, Cost], whole: dict[str, Cost], few: int, many: int) -> Table:
    table = Table(title=f"{many:,} tracks, and {few:,} of them")
    table.add_column("component", no_wrap=True)
    headings = ("wall s", "CPU s", f"CPU s, {few:,}", "CPU ms a further track", "peak MiB", f"peak MiB, {few:,}")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for component, cost in whole.items():
        less = part[component]
        table.add_row(
            component,
            f"{cost.seconds:.1f}",
            f"{cost.cpu:.1f}",
            f"{less.cpu:.1f}",
            f"{(cost.cpu - less.cpu) / (many - few) * 1000:.1f}",
            f"{cost.peak:,.0f}",
            f"{less.peak:,.0f}",
        )
    return table


def _print_ratios(
    console: Console, part: dict[str, Cost], whole: dict[str, Cost], more: int, many: int, seed: float
) -> None:
    total = sum(whole[component].cpu for component in _PREPARATION)
    marginal = (total - sum(part[component].cpu for component in _PREPARATION)) / more
    original_way = seed / many
    for name, value in (
        (f"{', '.join(_PREPARATION)}, all costs over all tracks", total / many),
        ("the same, for each further track", marginal),
        ("the original project: json.load, then arrays", original_way),
    ):
        console.print(f"{value * 1000:6.1f} CPU ms a track ({value / original_way:.2f}x)  {name}", highlight=False)


if __name__ == "__main__":
    run_checkout_process(main)
