"""What Beam finds out again and again while it builds a pipeline, found out once.

That is most of what a step costs on a small catalogue, and the same for a large one. For every DoFn, Beam inspects all
methods some ten times; for every transform, it makes parsers of a command line; for every function that it pickles, it
looks through the names of all imported modules. It has no options for that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core


@contextmanager
def memoized() -> Iterator[None]:
    """While it lasts, Beam computes each of these once. What its pipelines do stays the same."""
    replaced = [
        (core, "get_function_args_defaults", _arguments),
        (PipelineOptions, "view_as", _views),
        (cloudpickle, "_find_imported_submodules", _submodules),
    ]
    # Another version of Beam may not have all of them.
    originals = [(owner, name, getattr(owner, name), memo) for owner, name, memo in replaced if hasattr(owner, name)]
    for owner, name, original, memo in originals:
        setattr(owner, name, memo(original))
    try:
        yield
    finally:
        for owner, name, original, _ in originals:
            setattr(owner, name, original)


def _arguments(inspect: Callable[..., Any]) -> Callable[..., Any]:
    """A function's arguments and their defaults, by the function: that of a method is the same for all objects."""
    known: dict[tuple[FunctionType, bool], tuple[list[str], list[Any]]] = {}

    def arguments(function: Any) -> tuple[list[str], list[Any]]:
        plain = getattr(function, "__func__", function)
        key = (plain, plain is function)
        if not isinstance(plain, FunctionType):
            return inspect(function)
        if key not in known:
            known[key] = inspect(function)
        names, defaults = known[key]
        return list(names), list(defaults)

    return arguments


def _views(view_as: Callable[..., Any]) -> Callable[..., Any]:
    """Options of one kind, by the dictionary that all views of the same options share."""
    known: dict[tuple[int, type], Any] = {}

    def view(options: Any, kind: type) -> Any:
        # A view that is known keeps its dictionary, so that no other one gets the same id.
        key = (id(options._all_options), kind)
        if key not in known or known[key]._flags is not options._flags:
            known[key] = view_as(options, kind)
        return known[key]

    return view


def _submodules(find: Callable[..., list[ModuleType]]) -> Callable[..., list[ModuleType]]:
    """The imported modules that code may mean, by the code, the packages that it names, and how many are imported."""
    known: dict[tuple[CodeType, tuple[str, ...], int], list[ModuleType]] = {}

    def submodules(code: CodeType, dependencies: Iterable[object]) -> list[ModuleType]:
        packages = [each for each in dependencies if isinstance(each, ModuleType)]
        key = (code, tuple(package.__name__ for package in packages), len(sys.modules))
        if key not in known:
            known[key] = find(code, packages)
        return known[key]

    return submodules
