"""``deepmusic versions`` and ``deepmusic rollback``: the pushed versions, and which of them is live."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from components.model_validator.verdict import FILE, Verdict
from components.pusher.folder import Place, place, places, roll_back, version_number
from components.scoring.predictions import decode_predictions
from components.scoring.scores import accuracy, macro_f1
from components.storage.locks import Locked, exclusive
from components.storage.places import read
from deepmusic_genre.cli import Given
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import OK
from pipeline.metadata.lineage import Lineage, PushedVersion
from pipeline.pushed import pushing_settings
from pipeline.run.command_line import named_settings
from pipeline.settings import Settings

_UNKNOWN = "-"


@dataclass(frozen=True)
class _Scores:
    model: str = _UNKNOWN
    accuracy: str = _UNKNOWN
    macro_f1: str = _UNKNOWN
    verdict: str = _UNKNOWN


def show_versions(given: Given) -> int:
    """Prints a table of the versions; raises PipelineInputError where there are none."""
    _list(pushing_settings(named_settings(given)))
    return OK


def make_live(given: Given, version: str) -> int:
    """Makes a version the live one; raises PipelineInputError if it cannot."""
    _make_live(pushing_settings(named_settings(given)), version)
    return OK


def _make_live(settings: Settings, text: str) -> None:
    version = version_number(text)
    if version is None:
        raise PipelineInputError(f"{text!r} is not a version; `deepmusic versions` lists them.")
    home, pushed = Path(settings.home), settings.pushed
    try:
        with exclusive(home / "lock"):  # A run that is going on may be about to push.
            live_already = place(pushed, version) is Place.LIVE
            withdrawn = [] if live_already else roll_back(pushed, version)
    except Locked as error:
        raise PipelineInputError(f"A run is going on in {home}: wait for it to end.") from error
    except OSError as error:
        raise PipelineInputError(f"Nothing can be written to {home}: {error.strerror}.") from error
    if live_already:
        print(f"Version {version} is live already.")
        return
    print(f"Version {version} is live" + (f"; withdrawn: {', '.join(map(str, withdrawn))}" if withdrawn else ""))


def _list(settings: Settings) -> None:
    pushed = settings.pushed
    known = Lineage(settings).pushed()
    table = Table(title=pushed, title_justify="left")
    for name in ("version", "pushed", "model"):
        table.add_column(name)
    for name in ("test accuracy", "macro F1"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("state")
    found = places(pushed)
    for number in sorted({*known, *found}, reverse=True):
        version = known.get(number)
        when = f"{version.pushed_at:%Y-%m-%d %H:%M}" if version else _UNKNOWN
        scores = _scores(version) if version else _Scores()
        row = (scores.model, scores.accuracy, scores.macro_f1, scores.verdict)
        table.add_row(str(number), when, *row, found.get(number, Place.REMOVED).value)
    # Wide enough for the table where there is no terminal to ask.
    Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 140).print(table)


def _scores(version: PushedVersion) -> _Scores:
    """What is known of a version's model; nothing if the run's files were removed."""
    try:
        verdict = msgspec.json.decode(read(f"{version.verdict}/{FILE}"), type=Verdict)
        answers = decode_predictions(read(f"{version.predictions}/{verdict.model}.parquet"))
    except OSError:
        return _Scores()
    confusion = answers.confusion
    against = f", against {verdict.baseline}" if verdict.baseline else ""
    passed = sum(check.passed for check in verdict.checks)
    judged = f"{passed} of {len(verdict.checks)} checks passed{against}"
    return _Scores(verdict.model, f"{accuracy(confusion):.3f}", f"{macro_f1(confusion):.3f}", judged)
