"""How the pictures of a compression look: a colour for each method, hollow and dashed where it was finetuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lightning_robust.report.compress_words import Series
from lightning_robust.report.emergence_axis import plain

__all__ = ["beside", "finish", "series_handles", "series_style"]


def series_style(series: Series) -> dict[str, Any]:
    """Colour, dashes and marks of a line.

    Args:
        series: What is drawn.
    """
    return {
        "color": series.colour,
        "linestyle": ":" if series.masked else "--" if series.tuned else "-",
        "linewidth": 1.8,
        "marker": "X" if series.masked else "o",
        "markersize": 5.5,
        "markerfacecolor": "white" if series.tuned else series.colour,
        "markeredgecolor": series.colour,
    }


def series_handles(series: Sequence[Series]) -> list[Line2D]:
    """The lines of a legend.

    Args:
        series: What is drawn.
    """
    return [Line2D([], [], **series_style(one), label=plain(one.words)) for one in series]


def beside(places: Sequence[float], number: int, count: int) -> list[float]:
    """Where the marks of one of several lines stand, so that bars at the same share do not hide each other.

    Args:
        places: Shares of parameters in percent.
        number: Which line, from 0.
        count: How many there are.

    Example:
        >>> beside([50.0], 0, 3), beside([50.0], 1, 3)
        ([49.6], [50.0])
    """
    return [place + 0.4 * (number - (count - 1) / 2) for place in places]


def finish(axes: Axes, title: str) -> None:
    """Title, grid and frame of a panel.

    Args:
        axes: The panel.
        title: Its words, which may come from data.
    """
    axes.set_title(plain(title), fontsize=10.5, loc="left")
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
