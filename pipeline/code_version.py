"""What a step's result depends on besides its inputs and settings: the project's code, its data files, the environment.

The cache compares it, so that nothing is taken from a run that other code or other packages have made. It is computed
from what the code imports; nobody has to remember to name a package.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grimp

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_node import BaseNode

ROOT = Path(__file__).parent.parent
PACKAGES = ("components", "deepmusic_genre", "pipeline", "serving")

_NAME = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+")


def modules_named_by(node: BaseNode) -> set[str]:
    """The project's modules that a component names: its executor and driver, and those in its properties.

    A property may name code, as Trainer's ``run_fn`` does and an evaluation's configuration.
    """
    properties = (json.dumps(value, default=str) for value in node.exec_properties.values())
    texts = [getattr(node.executor_spec, "class_path", ""), node.driver_class.__module__, *properties]
    named = {_module_of(name) for text in texts for name in _NAME.findall(text)}
    return {module for module in named if module}


def every_module() -> set[str]:
    """The names of all modules of the project that a run may use."""
    return set(_graph().modules)


def modules_used_by(*modules: str) -> list[str]:
    """Modules and everything of the project that they import, at any depth and wherever in the code, sorted."""
    graph = _graph()
    found: set[str] = set()
    waiting = [package for module in modules for package in _with_packages(module)]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        imported = graph.find_modules_directly_imported_by(module)
        waiting += [package for each in imported for package in _with_packages(each)]
    return sorted(found)


def files_of(modules: Iterable[str]) -> list[Path]:
    """The source files of modules, and the data files that lie in the same folders or below them, sorted."""
    sources = {_file_of(module) for module in modules}
    folders = {source.parent for source in sources}
    return sorted(sources | {file for folder in folders for file in _data_files(folder)})


def code_version(*modules: str) -> str:
    """A hash of the code that modules use, of its data files, and of the environment.

    Args:
        modules: Names of modules of this project.
    """
    return hashlib.blake2b(f"{environment()}\n{code_digest(*modules)}".encode(), digest_size=8).hexdigest()


def code_digest(*modules: str) -> str:
    """A hash of the code that modules use and of its data files, equal wherever and by whatever Python they run."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files_of(modules_used_by(*modules)):
        digest.update(b"\0" + file.relative_to(ROOT).as_posix().encode() + b"\0" + _digest_of(file))
    return digest.hexdigest()


@cache
def environment() -> str:
    """The machine's architecture, Python's version, and every installed package with its version."""
    # A folder's name is enough: reading the metadata of 300 packages takes most of a second.
    packages = {found.name for entry in sys.path if entry for found in Path(entry).glob("*.dist-info")}
    return "\n".join([platform.machine(), platform.python_version(), *sorted(packages)])


@cache
def _graph() -> Any:
    return grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)


@cache
def _digest_of(file: Path) -> bytes:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).digest()


def _module_of(name: str) -> str | None:
    """The module that a dotted name is or is in; None for a package alone, as it stands in many a path."""
    while "." in name and name not in _graph().modules:
        name = name.rpartition(".")[0]
    return name if "." in name else None


def _with_packages(module: str) -> Iterator[str]:
    """A module and the packages around it, which are imported with it."""
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    for child in folder.iterdir():
        if child.name.startswith(".") or child.name.endswith("~"):
            continue  # A file manager's or an editor's.
        if child.is_dir() and child.name != "__pycache__" and not (child / "__init__.py").exists():
            found += _data_files(child)
        elif child.is_file() and child.suffix != ".py":
            found.append(child)
    return tuple(found)
