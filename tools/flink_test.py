"""``make flink-test``: a run and its answers on a Flink cluster of two hosts, one of which is lost in the middle.

The hosts are network namespaces where this user may make them; else this machine is the only one. Each has a task
manager and a worker pool. What comes out is compared with what one process makes of the same data.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

import httpx
from rich.console import Console
from rich.table import Table

from deepmusic_genre.process import run_checkout_process
from tools.beam_cluster import beam_arguments
from tools.environment import ensure_uv
from tools.kill_runs import ROOT, Run, run_command

FLINK = "1.20.3"
_FOLDER = ROOT / ".tools" / "flink"
_SERVER = "beam-runners-flink-1.20-job-server"
_MAVEN = "https://repo1.maven.org/maven2/org/apache/beam"
_NETWORK, _REST, _JOBS, _POOL = "10.77.0", 18081, 18099, 50000
_START_SECONDS = 90
_LOST_IN_JOB = 3
"""After the check of the workers and TrackExampleGen: StatisticsGen."""

_CONFIG = """\
jobmanager.rpc.address: {master}
jobmanager.bind-host: {master}
rest.address: {master}
rest.bind-address: {master}
rest.port: {port}
restart-strategy.type: exponential-delay
pekko.startup-timeout: 60s
"""
# Without Flink's own scripts, nobody divides a task manager's memory.
_TASK_MANAGER = {
    "taskmanager.cpu.cores": "2",
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.memory.task.heap.size": "512m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "512m",
    "taskmanager.memory.network.max": "512m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
_OPENED = ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "text", "time", "util", "util.concurrent")


class NotHereError(Exception):
    """What the test needs cannot be had."""


@dataclass(frozen=True)
class Host:
    """A machine, or what stands for one: its address, and what a command begins with to run there."""

    address: str
    enter: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """A Flink cluster that runs: the job manager's address, the hosts, the folder of its logs, and Flink's jars."""

    master: str
    hosts: list[Host]
    folder: Path
    jars: Path
    _managers: dict[Host, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ask(self, path: str, key: str) -> list[dict[str, Any]]:
        """What Flink's REST interface lists; nothing as long as it does not answer."""
        try:
            answer = httpx.get(f"http://{self.master}:{_REST}/{path}").raise_for_status()
        except httpx.HTTPError:
            return []
        listed: list[dict[str, Any]] = answer.json()[key]
        return listed

    def start(self, host: Host) -> None:
        """Starts a host's task manager."""
        own = {**_TASK_MANAGER, "taskmanager.host": host.address, "taskmanager.bind-host": host.address}
        command = [*host.enter, *self.java("runtime.taskexecutor.TaskManagerRunner", own)]
        self._managers[host] = _start(command, self.folder / f"taskmanager-{host.address}.log")

    def kill(self, host: Host) -> None:
        """Ends a host's task manager by SIGKILL."""
        _stop(self._managers[host])

    def java(self, entry: str, settings: Mapping[str, str]) -> list[str]:
        """The command of one of Flink's processes."""
        opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
        given = [f"-D{name}={value}" for name, value in settings.items()]
        java = ["java", "-Xmx768m", *opened, "-cp", f"{self.jars}/*", f"org.apache.flink.{entry}"]
        return [*java, "--configDir", str(self.folder / "conf"), *given]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the test; 0 if all is equal, or if there is no Flink to test, which is said."""
    parser = argparse.ArgumentParser(prog="python -m tools.flink_test", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="audio analyses")
    parser.add_argument("--labels", type=Path)
    options = parser.parse_args(arguments)
    try:
        jar, jars = job_server(), flink()
    except NotHereError as reason:
        print(f"Flink is not tested: {reason}.")
        return 0
    # The last test's logs stay until the next.
    folder = _FOLDER / "last"
    shutil.rmtree(folder, ignore_errors=True)
    with cluster(folder, jars) as running:
        return _test(options.data, options.labels, jar, running)


def job_server() -> Path:
    """Beam's job server for Flink, fetched from Maven Central unless ``FLINK_JOB_SERVER`` names it."""
    if given := os.environ.get("FLINK_JOB_SERVER"):
        return Path(given)
    beam = version("apache-beam")
    jar = _FOLDER / f"{_SERVER}-{beam}.jar"
    if not jar.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            part, _ = urlretrieve(f"{_MAVEN}/{_SERVER}/{beam}/{jar.name}", jar.with_suffix(".part"))  # noqa: S310 - https
        except OSError as error:
            told = f"Maven Central does not give {jar.name} ({error}); FLINK_JOB_SERVER= names a copy"
            raise NotHereError(told) from error
        Path(part).rename(jar)
    return jar


def flink() -> Path:
    """The folder of Flink's jars, from PyPI."""
    if shutil.which("java") is None:
        raise NotHereError("there is no Java, of which Flink needs 17")
    jars = _FOLDER / "pyflink" / "lib"
    if not jars.exists():
        wanted = f"apache-flink-libraries=={FLINK}"
        install = [ensure_uv(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
        if subprocess.run([*install, "--target", str(_FOLDER), wanted], check=False).returncode:
            raise NotHereError(f"{wanted} cannot be installed")
    return jars


@contextmanager
def cluster(folder: Path, jars: Path) -> Iterator[Cluster]:
    """A job manager here, and a task manager with a pool on each host, for as long as the context lasts."""
    with _hosts() as hosts, ExitStack() as stack:
        running = Cluster(f"{hosts[0].address.rpartition('.')[0]}.1", hosts, folder, jars)
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "config.yaml").write_text(_CONFIG.format(master=running.master, port=_REST))
        manager = running.java("runtime.entrypoint.StandaloneSessionClusterEntrypoint", {})
        stack.callback(_stop, _start(manager, folder / "jobmanager.log"))
        path = f"PATH={Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        pool = ["env", path, "python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={_POOL}"]
        for host in hosts:
            stack.callback(_stop, _start([*host.enter, *pool], folder / f"pool-{host.address}.log"))
            running.start(host)
            stack.callback(running.kill, host)
        _wait(lambda: len(running.ask("taskmanagers", "taskmanagers")) == len(hosts), "Flink's task managers", folder)
        yield running


@contextmanager
def _hosts() -> Iterator[list[Host]]:
    """Two network namespaces on a bridge, or this machine alone where they may not be made."""
    hosts = [Host(f"{_NETWORK}.{number}", ("ip", "netns", "exec", f"dm-{number}")) for number in (2, 3)]
    steps = ["link add dm-bridge type bridge", f"addr add {_NETWORK}.1/24 dev dm-bridge", "link set dm-bridge up"]
    for host in hosts:
        space = host.enter[-1]
        steps += [f"netns add {space}", f"link add v-{space} type veth peer name eth0 netns {space}"]
        steps += [f"link set v-{space} master dm-bridge up", f"-n {space} addr add {host.address}/24 dev eth0"]
        steps += [f"-n {space} link set eth0 up", f"-n {space} link set lo up"]
    try:
        yield hosts if all(map(_ip, steps)) else [Host("127.0.0.1", ())]
    finally:
        for undo in ("link delete dm-bridge", *(f"netns delete {host.enter[-1]}" for host in hosts)):
            _ip(undo)


def _ip(arguments: str) -> bool:
    try:
        done = subprocess.run(["ip", *arguments.split()], capture_output=True, check=False)  # noqa: S607 - by PATH
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _wait(happened: Callable[[], bool], what: str, folder: Path) -> None:
    for _ in range(_START_SECONDS):
        if happened():
            return
        time.sleep(1)
    raise SystemExit(f"{what} did not come up within {_START_SECONDS} s; {folder} has the logs.")


def _test(data: Path, labels: Path | None, jar: Path, running: Cluster) -> int:
    folder, master = running.folder, f"{running.master}:{_REST}"
    beam = [*beam_arguments(_JOBS, _POOL), f"--flink_master={master}", "--parallelism=2"]
    engine = ["--set", f"beam.args=[{', '.join(beam)}]"]
    given = ["--data", str(data), *(["--labels", str(labels)] if labels else [])]
    # The answers of both are those of one model: equal statistics are summed up in another order there.
    answers = [["tag", "--data", str(data), "--out", f"{folder}/tags/{where}"] for where in ("here", "there")]
    alone, there = (["--set", f"output={folder / name}"] for name in ("alone", "there"))
    runs = [run_command(["-m", "deepmusic_genre", *each]) for each in (["run", *given, *alone], [*answers[0], *alone])]
    server = ["java", "-jar", str(jar), f"--flink-master={master}", f"--job-port={_JOBS}", "--expansion-port=0"]
    with ExitStack() as stack:
        stack.callback(_stop, _start([*server, f"--artifacts-dir={folder}/staged"], folder / "jobserver.log"))
        _wait(lambda: socket.socket().connect_ex(("localhost", _JOBS)) == 0, "Beam's job server", folder)
        loss = threading.Thread(target=_lose_a_host, args=(running,), daemon=True)
        loss.start()
        both = (["run", *given, *there, *engine], [*answers[1], *alone, *engine])
        runs += [run_command(["-m", "deepmusic_genre", *each]) for each in both]
    for failed in (each for each in runs if each.code not in (0, 3)):  # 3: a gate kept the model from being pushed.
        print(failed.output)
        return 1
    Console(soft_wrap=True).print(_table(runs[0], runs[2]))
    print(f"{len(running.hosts)} hosts; one was {'not lost' if loss.is_alive() else 'lost in the middle of a job'}")
    unequal = [what for what, equal in _equal(folder).items() if not equal]
    print(f"not equal: {', '.join(unequal)}" if unequal else "records, statistics and answers are equal")
    return 1 if unequal or loss.is_alive() else 0


def _lose_a_host(running: Cluster) -> None:
    lost = running.hosts[-1]
    while len(jobs := running.ask("jobs", "jobs")) < _LOST_IN_JOB or all(job["status"] != "RUNNING" for job in jobs):
        time.sleep(0.5)
    running.kill(lost)
    running.start(lost)


def _equal(folder: Path) -> dict[str, bool]:
    import pyarrow.parquet as pq
    import tensorflow_data_validation as tfdv

    def statistics(file: Path) -> dict[str, bytes]:
        (dataset,) = tfdv.load_stats_binary(str(file)).datasets
        return {each.path.step[0]: each.SerializeToString(deterministic=True) for each in dataset.features}

    def files(pattern: str, read: Callable[[Path], Any]) -> bool:
        here, there = (
            {(file.parent.name, file.name): read(file) for file in (folder / name).glob(f"*/artifacts/*/{pattern}")}
            for name in ("alone", "there")
        )
        return bool(here) and here == there

    tags = [pq.read_table(folder / "tags" / where / "predictions.parquet") for where in ("here", "there")]
    return {
        "records": files("TrackExampleGen/examples/*/Split-*/*", Path.read_bytes),
        "statistics": files("StatisticsGen/statistics/*/Split-*/*", statistics),
        "answers": tags[0].equals(tags[1]),
    }


def _table(here: Run, there: Run) -> Table:
    table = Table("component", "one process, s", "Flink, s")
    for component, seconds in here.made.items():
        table.add_row(component, f"{seconds:.1f}", f"{there.made.get(component, float('nan')):.1f}")
    return table


if __name__ == "__main__":
    run_checkout_process(main)
