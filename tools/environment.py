"""Makes the environment that everything runs in, and prints its Python. Needs Python 3.8 and pip, nothing else.

Picks the newest TFX that this machine can run, fetches uv if it is missing, and installs the lock, then the project
itself, editable. All of it goes below the project's folder; an environment that is there already is found in a moment.
``PYTHON`` in the environment names an interpreter to use instead of looking for one; its version then picks the TFX
among those the machine can run. With the argument ``airflow`` it is Airflow's environment instead, which is apart
because Airflow and TFX ask for packages that exclude each other.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
AIRFLOW_LOCK = ROOT / "pipeline" / "airflow" / "requirements.lock"
TOOLS = ROOT / ".tools"

NEWEST_NEEDS_GLIBC = (2, 39)
"""TFX 1.21's data validation and metadata wheels are built for manylinux_2_39."""

_PROBE = (
    "import os, sys; names = getattr(os, 'confstr_names', {});"
    "libc = os.confstr('CS_GNU_LIBC_VERSION') if 'CS_GNU_LIBC_VERSION' in names else None;"
    "print('%d.%d' % sys.version_info[:2], (libc or '- -').split()[1])"
)


class NoStack(Exception):
    """None of the stacks runs on this machine; the message says why."""


@dataclass(frozen=True)
class Stack:
    """A TFX version, the Python it runs on, and why it was picked."""

    tfx: str
    python: str
    reason: str


def pick_stack(system: str, machine: str, glibc: tuple[int, ...] | None, python: str | None = None) -> Stack:
    """The newest stack for a machine.

    Args:
        system, machine: as the module ``platform`` names them.
        glibc: the C library's version, None where it is another one.
        python: a version (``3.10``) that it has to run on, None for any.

    Raises:
        NoStack: TFX has no wheels for the machine, or for that Python on it.
    """
    stacks = _stacks(system, machine, glibc)
    for stack in stacks:
        if python in (None, stack.python):
            return stack
    runs = " or ".join(f"TFX {stack.tfx} on Python {stack.python} ({stack.reason})" for stack in stacks)
    raise NoStack(f"Python {python} is not what TFX needs here: {runs}")


def _stacks(system: str, machine: str, glibc: tuple[int, ...] | None) -> list[Stack]:
    if (system, machine) == ("Darwin", "arm64"):
        return [Stack("1.21", "3.11", "the newest, on Apple silicon")]
    if (system, machine) != ("Linux", "x86_64") or glibc is None:
        raise NoStack(
            f"TFX has no packages for {system} on {machine}; it runs on Linux x86_64 (glibc) and Apple silicon."
        )
    here = ".".join(map(str, glibc))
    needed = ".".join(map(str, NEWEST_NEEDS_GLIBC))
    if glibc >= NEWEST_NEEDS_GLIBC:
        return [Stack("1.21", "3.11", f"the newest, with glibc {here}"), Stack("1.16", "3.10", "the older one")]
    return [Stack("1.16", "3.10", f"1.21 needs glibc {needed}, here is {here}")]


def probe(python: str) -> tuple[str, tuple[int, ...] | None] | None:
    """An interpreter's version (``3.11``) and its glibc's, None for the latter where there is none.

    Returns:
        None if the interpreter does not run.
    """
    try:
        answer = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True)
        version, libc = answer.stdout.split()
        return version, None if libc == "-" else tuple(map(int, libc.split(".")))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python(version: str) -> str:
    """A working interpreter of a version, or the bare version for uv to find or fetch."""
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    candidates = [f"python{version}", *map(str, sorted(Path(pyenv).glob(f"versions/{version}.*/bin/python{version}")))]
    for candidate in candidates:
        facts = probe(candidate)
        if facts and facts[0] == version:
            return candidate
    return version


def ensure_uv() -> str:
    """The path of uv, fetched with pip into the project's folder if it is nowhere else."""
    own = TOOLS / "uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(own) if own.exists() else None)
    if uv is None:
        say("fetching uv")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        os.environ.setdefault("PIP_ROOT_USER_ACTION", "ignore")
        run([*pip, "--target", str(TOOLS / "uv"), "uv"])
        uv = str(own)
    return uv


def ensure_environment(name: str, lock: Path, what: str, python: str) -> Path:
    """The Python of an environment that holds exactly what a lock says.

    Args:
        name: of its folder.
        lock: requirements with hashes.
        what: of what the person at the terminal is told that it is set up.
        python: the interpreter to make it of, or a version for uv to find or fetch.
    """
    environment = ROOT / ".venv" / name
    stamp = environment / "lock.sha256"
    # Kubeflow's image makes the environment before the project is there, and runs it from its folder.
    project = [PROJECT] if lock == LOCK and PROJECT.exists() else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in (lock, *project))).hexdigest()
    interpreter = environment / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == digest):
        say(f"setting up {environment.relative_to(ROOT)}: {what}")
        uv = ensure_uv()
        os.environ.setdefault("UV_PYTHON_INSTALL_DIR", str(TOOLS / "python"))
        run([uv, "venv", "--quiet", "--allow-existing", "--python", python, str(environment)])
        # Compiled now, TensorFlow and TFX start three times as fast wherever Python may not write its cache later.
        sync = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
        run([*sync, "--python", str(interpreter), str(lock)])
        if project:
            install = [uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
            run([*install, "--python", str(interpreter), "--editable", str(ROOT)])
        stamp.write_text(digest)
    return interpreter


def run(command: list[str]) -> None:
    """Runs a command with its output on standard error."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def say(text: str) -> None:
    """Tells the person at the terminal; standard output is the result."""
    print(f"environment: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Makes the environment; 0 if it is there."""
    chosen = os.environ.get("PYTHON")
    facts = probe(chosen or sys.executable)
    if facts is None:
        say(f"PYTHON={chosen} does not run")
        return 1
    try:
        stack = pick_stack(platform.system(), platform.machine(), facts[1], facts[0] if chosen else None)
    except NoStack as error:
        say(f"PYTHON={chosen}: {error}" if chosen else str(error))
        return 1
    python = chosen or find_python(stack.python)
    tfx = f"TFX {stack.tfx} on Python {stack.python} ({stack.reason})"
    try:
        if "airflow" in arguments:
            print(ensure_environment("airflow", AIRFLOW_LOCK, f"Airflow on Python {stack.python}", python))
        else:
            print(ensure_environment(f"tfx-{stack.tfx}", LOCK, tfx, python))
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd[:4]))} … failed, see above")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
