"""A classification report for papers."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.report_gen.content import Scores

_ESCAPES = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def escape(value: Any) -> str:
    """Text that LaTeX sets as it is."""
    return str(value).translate(_ESCAPES)


def classification_report(scores: Scores, synthetic: bool) -> str:
    """A table like scikit-learn's ``classification_report``; needs the package booktabs."""
    # Finalize is called for every value that is filled in.
    environment = Environment(  # noqa: S701 - not HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=escape,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["score"] = lambda value: "--" if isnan(value) else f"{value:.3f}"
    return environment.get_template("classification.tex.j2").render(scores=scores, synthetic=synthetic)
