"""The command ``deepmusic``, as tests call it."""

import sys
from collections.abc import Iterable
from typing import Any

from deepmusic_genre.cli import Given, main


def with_settings(arguments: Iterable[str]) -> list[str]:
    """Options, and single settings as they are written in a file of settings: ``key=value`` becomes an option."""
    options: list[str] = []
    for argument in arguments:
        value_of_option = bool(options) and options[-1].startswith("--") and "=" not in options[-1]
        is_setting = "=" in argument and not argument.startswith("-") and not value_of_option
        options += ["--set", argument] if is_setting else [argument]
    return options


def command(*arguments: str) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "deepmusic_genre", *with_settings(arguments)]


def call(*arguments: str) -> int:
    """Runs the command in this process, and returns its exit code."""
    return main(with_settings(arguments))


def run_or_demo(arguments: Iterable[str]) -> str:
    """The command that runs the pipeline with such arguments."""
    return "run" if any(argument.startswith(("--data", "--settings", "spotify.")) for argument in arguments) else "demo"


def given(arguments: Iterable[str]) -> Given:
    """What a command line says of the settings."""
    options, named, assignments = iter(with_settings(arguments)), dict[str, Any](), list[str]()
    for option in options:
        if option == "--set":
            assignments.append(next(options))
        else:
            named[option.removeprefix("--")] = next(options)
    return Given(assignments=tuple(assignments), **named)
