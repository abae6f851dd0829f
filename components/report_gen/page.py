"""The report as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.report_gen import figures
from components.report_gen.content import Report
from components.scoring.scores import Estimate

_FOLDER = Path(__file__).parent
_UNDEFINED = "-"


def render(report: Report) -> str:
    """Writes the page; every text of the report is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=_score, signed=_signed, interval=_interval, count=_count)
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        settings_yaml=yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True),
        ticks=figures.ticks,
        **{
            draw.__name__: _markup(draw)
            for draw in (
                figures.confusion,
                figures.estimates,
                figures.learning_curve,
                figures.reliability,
                figures.segment_counts,
            )
        },
    )


def _markup(draw: Callable[..., str]) -> Callable[..., Markup]:
    return lambda *arguments: Markup(draw(*arguments))  # noqa: S704 - Matplotlib escapes what it sets


def _score(value: float | None) -> str:
    return _UNDEFINED if value is None or isnan(value) else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return _UNDEFINED if value is None or isnan(value) else f"{value:+.3f}"


def _interval(estimate: Estimate) -> str:
    """Of a score or of anything else that has ``low`` and ``high``; empty where they are undefined."""
    low, high = estimate.low, estimate.high
    return "" if low is None or high is None or isnan(low) else f"{low:.3f} to {high:.3f}"


def _count(number: int) -> str:
    return f"{number:,}"
