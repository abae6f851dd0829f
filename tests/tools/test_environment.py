"""Tests of the choice of TFX and of the search for an interpreter."""

import os
import platform
import sys
from pathlib import Path

import pytest

from tools import environment
from tools.environment import NoStack, find_python, pick_stack, probe

pytestmark = pytest.mark.fast

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def _script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "tfx", "python"),
    [
        ("Linux", "x86_64", (2, 36), "1.16", "3.10"),
        ("Linux", "x86_64", (2, 4), "1.16", "3.10"),
        ("Linux", "x86_64", (2, 39), "1.21", "3.11"),
        ("Linux", "x86_64", (2, 41), "1.21", "3.11"),
        ("Darwin", "arm64", None, "1.21", "3.11"),
    ],
)
def test_newest_stack_that_the_machine_runs(
    system: str, machine: str, glibc: tuple[int, ...] | None, tfx: str, python: str
) -> None:
    stack = pick_stack(system, machine, glibc)
    assert (stack.tfx, stack.python) == (tfx, python)


@pytest.mark.parametrize(("python", "tfx"), [("3.10", "1.16"), ("3.11", "1.21")])
def test_python_of_ones_choice_picks_the_stack_where_both_run(python: str, tfx: str) -> None:
    assert pick_stack("Linux", "x86_64", (2, 41), python).tfx == tfx


def test_python_of_a_stack_that_does_not_run_here_is_refused_with_the_reason() -> None:
    with pytest.raises(NoStack, match=r"Python 3\.11 is not.*TFX 1\.16 on Python 3\.10 \(1\.21 needs glibc 2\.39"):
        pick_stack("Linux", "x86_64", (2, 36), "3.11")


def test_reason_for_an_older_stack_names_both_versions() -> None:
    reason = pick_stack("Linux", "x86_64", (2, 36)).reason
    assert "2.39" in reason
    assert "2.36" in reason


@pytest.mark.parametrize(
    ("system", "machine", "glibc"),
    [
        ("Darwin", "x86_64", None),
        ("Linux", "x86_64", None),
        ("Linux", "aarch64", (2, 41)),
        ("Windows", "AMD64", None),
    ],
    ids=["Intel Mac", "musl", "arm", "Windows"],
)
def test_machine_without_packages_is_refused_naming_it(
    system: str, machine: str, glibc: tuple[int, ...] | None
) -> None:
    with pytest.raises(NoStack, match=f"{system} on {machine}.*Linux x86_64.*Apple silicon"):
        pick_stack(system, machine, glibc)


def test_probe_of_this_interpreter() -> None:
    facts = probe(sys.executable)
    assert facts is not None
    version, glibc = facts
    assert version == HERE
    name, number = platform.libc_ver()
    assert glibc == (tuple(map(int, number.split("."))) if name == "glibc" else None)


def test_probe_of_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "python")) is None


@pytest.mark.parametrize("body", ["exit 127", "exit 0", "echo this is no Python", "echo 3.10 none"])
def test_probe_of_a_program_that_is_no_interpreter(tmp_path: Path, body: str) -> None:
    assert probe(str(_script(tmp_path / "python", body))) is None


def test_probe_of_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("text")
    assert probe(str(tmp_path / "python")) is None


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``PYENV_ROOT`` without versions, and a ``PATH`` whose interpreter is a broken shim."""
    _script(tmp_path / "shims" / f"python{HERE}", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path / "pyenv"


def _install(pyenv: Path, patch: int) -> Path:
    link = pyenv / "versions" / f"{HERE}.{patch}" / "bin" / f"python{HERE}"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.realpath(sys.executable))
    return link


def test_interpreter_of_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / f"python{HERE}").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", str(folder))
    assert find_python(HERE) == f"python{HERE}"


def test_broken_shim_is_passed_over_for_a_working_interpreter(pyenv: Path) -> None:
    working = _install(pyenv, 9)
    assert find_python(HERE) == str(working)


def test_broken_version_is_passed_over_for_a_working_one(pyenv: Path) -> None:
    _script(pyenv / "versions" / f"{HERE}.1" / "bin" / f"python{HERE}", "exit 1")
    working = _install(pyenv, 9)
    assert find_python(HERE) == str(working)


def test_interpreter_of_another_version_is_passed_over(pyenv: Path) -> None:
    _script(pyenv / "versions" / f"{HERE}.1" / "bin" / f"python{HERE}", "echo 3.9 2.36")
    assert find_python(HERE) == HERE


def test_version_is_left_to_uv_where_no_interpreter_works(pyenv: Path) -> None:
    assert find_python(HERE) == HERE


@pytest.mark.parametrize(("body", "said"), [("exit 127", " does not run"), ("echo 3.8 2.36", ": Python 3.8 is not")])
def test_chosen_interpreter_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str, said: str
) -> None:
    chosen = _script(tmp_path / "python", body)
    monkeypatch.setenv("PYTHON", str(chosen))
    assert environment.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"PYTHON={chosen}{said}" in err
