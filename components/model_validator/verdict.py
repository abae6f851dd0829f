"""What a model has to reach to be pushed, and whether it does."""

from __future__ import annotations

import os

import msgspec

from components.storage.json_files import read_json, write_json

FILE = "verdict.json"
"""In a ModelVerdict artifact's folder."""


class Check(msgspec.Struct, frozen=True):
    """One thing a model was checked for.

    Attributes:
        name: for example ``macro F1`` or ``change of the F1 of Jazz``.
        value: the score, or its difference from the baseline's; None where it is undefined.
        low, high: its confidence interval.
        requirement: what was asked for, in words.
        passed: whether it was met.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    requirement: str
    passed: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} cannot be measured on the test split, asked for: {self.requirement}"
        interval = "" if self.low is None or self.high is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.name} is {self.value:.3f}{interval}, asked for: {self.requirement}"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a model may be pushed.

    Attributes:
        model: its name.
        baseline: the name of the latest blessed model that it was compared with, None where there is none.
        checks: all of them.
    """

    model: str
    baseline: str | None
    checks: list[Check]

    @property
    def blessed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it is not blessed, a line a failed check; empty for a blessed model."""
        return [str(check) for check in self.checks if not check.passed]

    def save(self, folder: str) -> None:
        """Writes the file into an artifact's folder."""
        write_json(os.path.join(folder, FILE), self)


def load_verdict(folder: str) -> Verdict:
    """Reads what :meth:`Verdict.save` wrote."""
    return read_json(os.path.join(folder, FILE), Verdict)
