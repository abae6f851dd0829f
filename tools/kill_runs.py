"""``make kill-runs``: kills a run in the middle of every component, and compares what comes out in the end.

One run is left alone. Another one is started again and again: by SIGKILL it ends in the middle of its first component,
then in the middle of its second, and so on, until nothing is left to kill. Each start has to take from the cache what
was finished, and the end has to be the same.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deepmusic_genre.cli import main as main_of_command
from deepmusic_genre.process import run_checkout_process

ROOT = Path(__file__).resolve().parent.parent

_LINE = re.compile(r"^(\S+) +(\d+\.\d) s(  from the cache)?$", re.MULTILINE)
_KILLED = -9
_TRIES = 4
_SHORTEST_SECONDS = 0.02
# Of a report: when, how long, and how much of the data was new, as what a killed run has read is taken over.
_OF_THE_RUN = {"timings", "run_id", "seconds", "new"}
# The graph is not among them: TensorFlow writes it with other bytes at each export, even of runs that are left alone.
_EQUAL = {
    "the pushed model's weights": "pushed/*/variables/*",
    "the pushed model's assets": "pushed/*/assets*/**/*",
    "the answers to the test split": "artifacts/*/Predictor/predictions/*/*.parquet",
}
_SAME = "The pushed model's weights and answers, the report and the artifacts are those of the run that was left alone."
_CHILD = """
import sys
from deepmusic_genre.process import run_checkout_process
from tools.kill_runs import run_until
run_checkout_process(lambda: run_until(*sys.argv[1:]))
"""


@dataclass(frozen=True)
class Run:
    """What a run printed.

    Attributes:
        code: its exit code.
        made: seconds of the components that ran to their end, in their order.
        cached: the components that were taken from the cache.
        output: all of it.
    """

    code: int
    made: dict[str, float]
    cached: list[str]
    output: str


@dataclass(frozen=True)
class Kill:
    """A component in which a run was killed.

    Attributes:
        component: its id.
        after: seconds from its beginning to SIGKILL.
        run: what the killed run printed.
    """

    component: str
    after: float
    run: Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table of the kills.

    Returns:
        0 if every kill hit its component, everything that was finished came from the cache, and weights, answers,
        report and artifacts are those of the run that was left alone.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.kill_runs", description=__doc__)
    parser.add_argument("--data", type=Path, help="as for run-local; none: the synthetic demo catalogue")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="deepmusic-kills-") as name:
        # Both write to one place, one after the other: paths are part of what is compared.
        output, alone = Path(name) / "output", Path(name) / "alone"
        given = [("--data", options.data), ("--labels", options.labels)]
        run = [text for option, value in given if value for text in (option, str(value))]
        run = ["run" if options.data else "demo", *run, "--set", f"output={output}"]
        run += [text for assignment in options.assignments for text in ("--set", assignment)]
        with console.status("the run that is left alone"):
            whole = run_command(["-m", "deepmusic_genre", *run])
        if whole.code:
            console.print(whole.output, markup=False)
            return 1
        output.rename(alone)
        kills = []
        for component, seconds in whole.made.items():
            with console.status(f"killing a run in {component}"):
                kills.append(_kill(component, seconds / 2, run, output))
        with console.status("the last run"):
            last = run_command(["-m", "deepmusic_genre", *run])
        faults = [*_not_taken_up(kills, last), *differences(_home(alone), _home(output))]
    console.print(_table(kills, last))
    for line in faults or [_SAME]:
        console.print(line, markup=False)
    return 1 if last.code or faults else 0


def run_until(victim: str, seconds: str, *arguments: str) -> int:
    """The command ``deepmusic``, killed some seconds after a component has begun."""
    from pipeline.console import Terminal

    started = Terminal.started

    def note(terminal: Terminal, component: str) -> None:
        started(terminal, component)
        if component == victim:
            # From outside, as nothing in this process is sure to be on time.
            subprocess.Popen(["/bin/sh", "-c", f"sleep {seconds}; kill -9 {os.getpid()}"], stdout=subprocess.DEVNULL)

    setattr(Terminal, "started", note)  # noqa: B010 - mypy forbids the plain assignment.
    return main_of_command(arguments)


def _kill(component: str, after: float, run: Sequence[str], output: Path) -> Kill:
    before = output.with_name("before")
    if output.exists():
        shutil.copytree(output, before)
    for _ in range(_TRIES):
        after = max(after, _SHORTEST_SECONDS)
        killed = run_command(["-c", _CHILD, component, str(after), *run])
        if killed.code == _KILLED and component not in {*killed.made, *killed.cached}:
            break
        # It came too late. Once more from where it was, and sooner.
        after /= 2
        shutil.rmtree(output)
        if before.exists():
            shutil.copytree(before, output)
    shutil.rmtree(before, ignore_errors=True)
    return Kill(component, after, killed)


def run_command(arguments: Sequence[str]) -> Run:
    """Runs a command of this Python."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [(found[1], float(found[2]), bool(found[3])) for found in _LINE.finditer(done.stdout)]
    made = {component: seconds for component, seconds, cached in lines if not cached}
    return Run(done.returncode, made, [component for component, _, cached in lines if cached], done.stdout)


def _not_taken_up(kills: Sequence[Kill], last: Run) -> Iterator[str]:
    """What a run did again though an earlier one had finished it, and kills that hit nothing."""
    finished: set[str] = set()
    for run in (*(kill.run for kill in kills), last):
        # BaselineResolver looks up anew each time.
        for component in finished & run.made.keys() - {"BaselineResolver"}:
            yield f"{component} was finished, and was done again."
        finished |= run.made.keys()
    for kill in kills:
        if kill.run.code != _KILLED:
            yield f"{kill.component} ended before it could be killed."


def _home(output: Path) -> Path:
    (home,) = output.iterdir()
    return home


def differences(alone: Path, killed: Path) -> Iterator[str]:
    """What is in one home of runs and not in the other, or otherwise there."""
    for what, pattern in _EQUAL.items():
        yield from _different_files(what, *(_files(home, pattern) for home in (alone, killed)))
    places = [_only(home, "artifacts/*/ReportGen/report/*") / "report.json" for home in (alone, killed)]
    first, second = (_comparable(json.loads(place.read_text(encoding="utf-8"))) for place in places)
    yield from (f"the reports differ in {key}" for key in first if first[key] != second[key])
    fewer, more = (_artifacts(home) for home in (alone, killed))
    yield from (f"{count} too many in {folder}" for folder, count in (more - fewer).items())
    yield from (f"{count} missing in {folder}" for folder, count in (fewer - more).items())


def _artifacts(home: Path) -> Counter[str]:
    """How many artifacts there are of each component's outputs, and how many pushed versions."""
    shards, pushed = (home.glob(pattern) for pattern in ("artifacts/shards/*", "pushed/*"))
    outputs = (folder for folder in home.glob("artifacts/*/*/*/*") if "shards" not in folder.parts)
    return Counter(_unnumbered(place.parent.relative_to(home)) for place in (*outputs, *shards, *pushed))


def _unnumbered(path: Path) -> str:
    """A path in a home of runs without the names of runs and the numbers of versions and executions."""
    return re.sub(r"/\d+/", "/", re.sub(r"^artifacts/\d+-\d+-\w+/", "artifacts/", str(path)))


def _files(home: Path, pattern: str) -> dict[str, Path]:
    return {_unnumbered(file.relative_to(home)): file for file in home.glob(pattern) if file.is_file()}


def _different_files(what: str, alone: dict[str, Path], killed: dict[str, Path]) -> Iterator[str]:
    if not alone or alone.keys() != killed.keys():
        yield f"{what}: other files, {', '.join(sorted(alone.keys() ^ killed.keys())) or 'none at all'}"
    for name in sorted(alone.keys() & killed.keys()):
        if not filecmp.cmp(alone[name], killed[name], shallow=False):
            yield f"{what}: {name} differs"


def _only(home: Path, pattern: str) -> Path:
    found = list(home.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} instead of one: {home / pattern}")
    return found[0]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(each) for key, each in value.items() if key not in _OF_THE_RUN}
    return [_comparable(each) for each in value] if isinstance(value, list) else value


def _table(kills: Sequence[Kill], last: Run) -> Table:
    table = Table(title="runs that were killed, and what the next run did", title_justify="left")
    for heading in ("killed in", "after s", "from the cache", "killed component", "did besides"):
        table.add_column(heading, justify="right" if heading in ("after s", "from the cache") else "left", no_wrap=True)
    for kill, following in zip(kills, [*(kill.run for kill in kills[1:]), last], strict=True):
        again = f"{following.made[kill.component]:.1f} s" if kill.component in following.made else "from the cache"
        others = [component for component in following.made if component != kill.component]
        table.add_row(
            kill.component, f"{kill.after:.2f}", str(len(following.cached)), again, ", ".join(others) or "nothing"
        )
    return table


if __name__ == "__main__":
    run_checkout_process(main)
