"""The end of a run, whatever ran it: what it came to is shown, and told to those who are not there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deepmusic_genre.errors import GateClosed, PipelineInputError
from deepmusic_genre.exit_codes import FAULT, GATE, OK
from pipeline.console import Terminal, reason, relative
from pipeline.run.webhook import tell
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.run.outcome import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stop:
    """What ended a run, or kept its model from being pushed.

    Attributes:
        components: which ones; none if it did not get so far.
        reasons: a line or more each.
        gate: whether that is what they are for; else it is a fault.
    """

    components: tuple[str, ...]
    reasons: tuple[str, ...]
    gate: bool

    def __str__(self) -> str:
        reasons = "\n".join(self.reasons)
        return f"{' and '.join(self.components)}: {reasons}" if self.components else reasons


def stop_of(cause: BaseException | None, *components: str) -> Stop:
    """What ended a run, by what was raised; None where a component was left without its input."""
    if isinstance(cause, PipelineInputError):
        return Stop(components, (str(cause),), isinstance(cause, GateClosed))
    return Stop(components, (f"{type(cause).__name__}: {cause}" if cause else "its input is not there",), gate=False)


def conclude(settings: Settings, outcome: Outcome, terminal: Terminal) -> int:
    """Ends a run that came to its end.

    Returns:
        The exit code.
    """
    _show(settings, outcome, terminal)
    _clean(settings, terminal)
    closed = {"ModelCheck": outcome.faults, "ModelValidator": outcome.verdict.reasons}
    gates = tuple(gate for gate, reasons in closed.items() if reasons)
    return conclude_stopped(settings, Stop(gates, tuple(outcome.reasons), gate=True), terminal) if gates else OK


def conclude_stopped(settings: Settings, stop: Stop, terminal: Terminal) -> int:
    """Tells that a run pushed no model, for a reason that has been shown.

    Returns:
        The exit code.
    """
    code = GATE if stop.gate else FAULT
    where = " and ".join(stop.components)
    failed = f"the run failed in {where}" if where else "the run failed"
    what = f"{where} kept the model from being pushed" if stop.gate else failed
    if stop.gate:
        terminal.line(f"gate: {what}")
    log.warning("%s, exit code %d: %s", what, code, "; ".join(stop.reasons))
    untold = tell(
        {
            "text": f"{settings.name}: {what}: {stop.reasons[0].splitlines()[0]}",
            "pipeline": settings.name,
            "outcome": "gate" if stop.gate else "failure",
            "components": stop.components,
            "reasons": stop.reasons,
            "exit_code": code,
        }
    )
    if untold:
        terminal.line(untold)
    return code


def _clean(settings: Settings, terminal: Terminal) -> None:
    if settings.keep.keeps_everything:
        return
    from pipeline.metadata.cleaning import clean

    try:
        terminal.line(str(clean(settings)))
    except Exception as error:  # Whatever it is, files or the metadata: the run's result stays what it is.
        log.warning("cleaning failed", exc_info=error)
        told = str(error) if isinstance(error, PipelineInputError) else f"{reason(error)}."
        terminal.line(f"Not everything old could be removed: {told} `deepmusic clean` resumes.")


def _show(settings: Settings, outcome: Outcome, terminal: Terminal) -> None:
    origin = " (synthetic)" if settings.catalogue.path is None else ""
    if len(outcome.predictions) > 1:
        terminal.comparison(outcome.predictions, f"models on the test split{origin}")
    best = outcome.selection.selected
    terminal.scores(outcome.predictions[best], f"{best} on the test split{origin}")
    if outcome.pushed:
        terminal.line(f"Pushed to {relative(outcome.pushed)}")
    else:
        terminal.line("Not pushed:" + "".join(f"\n  {reason}" for reason in outcome.reasons))
    if outcome.tuned:
        tuned = _write_tuned(Path(settings.home), outcome.tuned)
        terminal.line(f"tuned hyper-parameters, for SETTINGS=: {relative(tuned)}")
    for name, place in {**outcome.places, "log": str(terminal.log_file)}.items():
        terminal.line(f"{name}: {relative(place)}")


def _write_tuned(home: Path, tuned: dict[str, dict[str, Any]]) -> Path:
    path = home / "tuned.yaml"
    path.write_text(yaml.safe_dump({"models": tuned}), encoding="utf-8")
    return path
