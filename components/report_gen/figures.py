"""A report's figures, each one SVG element to be set into the page.

Each is one panel, small enough to be read on a phone; the page sets them beside each other. Equal content
gives equal text.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.report_gen.content import Calibration, ModelReport, Scores, SegmentCounts
from components.scoring.scores import Estimate

_STYLE = {
    "axes.edgecolor": "#767676",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}

# Okabe, Ito, Color Universal Design, 2008: told apart by colour-blind readers, and by their dashes without colours.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#767676"
_SPLIT_LINES = {"train": (_BLUE, "-"), "validation": (_ORANGE, "--"), "test": (_GREEN, ":")}

_WIDTH = 3.6
_ROW = 0.24
"""Inches: a panel, and a row of text in one."""


def estimates(scores: Sequence[Scores], name: str, title: str) -> str:
    """A score of each model, ``name`` being a field of :class:`Scores`, with its interval."""
    found: list[Estimate] = [getattr(each, name) for each in scores]

    def draw(axes: Axes) -> None:
        for row, estimate in enumerate(found):
            axes.plot([estimate.low, estimate.high], [row, row], color=_GREY, linewidth=2, solid_capstyle="butt")
            axes.plot(estimate.value, row, "o", color=_BLUE, markersize=6)
        _name_rows(axes, [each.model for each in scores])
        axes.set_title(title)
        axes.grid(axis="x", color="#e0e0e0")

    return _svg(draw, f"{title} of each model with its interval; the table has the numbers", height=len(found))


def learning_curve(model: ModelReport, name: str) -> str:
    """``loss`` or ``accuracy`` by epoch, on the training split and on the validation split."""

    def draw(axes: Axes) -> None:
        for split, key in {"train": name, "validation": f"val_{name}"}.items():
            color, line = _SPLIT_LINES[split]
            values = model.training.history.get(key, [])
            axes.plot(range(1, len(values) + 1), values, line, color=color, marker=".", markersize=3, label=split)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", title=name)
        axes.legend()

    return _svg(draw, f"{name} of {model.name} by epoch, on the training and the validation split")


def confusion(scores: Scores, normalised: bool) -> str:
    """Test tracks by genre, actual by predicted: their number, or their share of each actual genre."""
    counts = np.array(scores.confusion, float)
    with np.errstate(invalid="ignore"):
        cells = counts / counts.sum(axis=1, keepdims=True) if normalised else counts
    title = "share of the actual genre" if normalised else "tracks"
    genres = [row.genre for row in scores.genres]

    def draw(axes: Axes) -> None:
        shades = np.nan_to_num(cells)
        most = shades.max() or 1
        places = np.arange(len(genres))
        axes.pcolormesh(places, places, shades, cmap="Blues", vmin=0, vmax=most, edgecolors="white", linewidth=1)
        for (actual, predicted), value in np.ndenumerate(cells):
            text = "-" if np.isnan(value) else f"{value:.2f}" if normalised else f"{value:.0f}"
            ink = "white" if shades[actual, predicted] > 0.6 * most else "black"
            axes.text(predicted, actual, text, ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(places, genres, rotation=90)
        axes.set_yticks(places, genres)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set(xlabel="predicted", ylabel="actual", title=title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)

    side = 1.4 + 0.34 * len(genres)
    return _svg(draw, f"Confusion matrix of {scores.model}, {title}", size=(side, side))


def reliability(model: str, calibration: Calibration, title: str) -> str:
    """How often answers are right, by their probability; the area of a dot is the number of its answers."""
    filled = [each for each in calibration.bins if each.tracks]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
        sizes = 12 + 240 * np.array([each.tracks for each in filled]) / max((each.tracks for each in filled), default=1)
        axes.scatter([each.probability for each in filled], [each.accuracy for each in filled], sizes, _BLUE, alpha=0.8)
        axes.set(xlim=(0, 1.05), ylim=(-0.05, 1.05), xlabel="probability", ylabel="share that is right", title=title)

    label = f"Reliability of {model} {title}: calibration error {calibration.error:.3f}"
    return _svg(draw, label, size=(_WIDTH, _WIDTH))


def segment_counts(splits: Sequence[SegmentCounts]) -> str:
    """How many segments tracks have, as a share of their split for each hundred segments."""

    def draw(axes: Axes) -> None:
        for each in splits:
            color, line = _SPLIT_LINES[each.split]
            edges, tracks = np.array(each.edges), np.array(each.tracks)
            widths = np.maximum(np.diff(edges), 1)
            axes.stairs(100 * tracks / widths / tracks.sum(), edges, color=color, linestyle=line, label=each.split)
        axes.set(xlabel="segments", ylabel="share for each 100 segments", title="segments of a track")
        axes.legend()

    return _svg(draw, "Distribution of the number of segments by split; the table has its quantiles")


def ticks(genres: dict[str, list[float]]) -> list[float]:
    """Round values from the least to the largest of all quantiles, and perhaps one beyond each."""
    values = [value for quantiles in genres.values() for value in quantiles]
    return list(MaxNLocator(5).tick_values(min(values, default=0), max(values, default=1)))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _svg(
    draw: Callable[[Axes], None],
    label: str,
    height: int | None = None,
    size: tuple[float, float] | None = None,
) -> str:
    """Draws into a panel of so many rows, of a size in inches, or of the usual one; the label is for screen readers."""
    width, inches = size or (_WIDTH, 2.6 if height is None else 0.7 + _ROW * height)
    # The salt makes the ids that the parts of a figure refer to each other by, so that no two figures share one.
    style: dict[str, Any] = {**_STYLE, "svg.hashsalt": label}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, inches), layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=_NO_METADATA, transparent=True)
    return _element(text.getvalue(), label)


def _element(document: str, label: str) -> str:
    element = document[document.index("<svg ") :]
    # Groups are numbered from 1 in every figure, and nothing refers to them.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = re.sub(r"\s*\n\s*", "\n", element)
    return element.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
