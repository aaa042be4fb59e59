"""The panels of the picture of `prune`: lines, bands, headlines and axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightning_robust.report.prune_words import FORMS, ORDERS, PAPER
from lightning_robust.results.prune_record import PruneCurve, PrunedModel

__all__ = ["CENTRED", "LOSS", "PAPER_LINE", "Panel", "panels_of", "room_for_headlines"]

CENTRED: dict[str, Any] = {"linestyle": (0, (3, 1.5)), "linewidth": 1.1}
"""Of the lines of the centred head."""
LOSS: dict[str, Any] = {"color": "0.5", "linewidth": 0.9, "linestyle": ":"}
"""Of the line below which too much is lost."""
PAPER_LINE: dict[str, Any] = {"color": "0.25", "linewidth": 1.0, "linestyle": (0, (6, 2, 1, 2))}
"""Of the line at what the paper prunes."""
_DIRECTIONS = ("random", "smallest_first", "reduced_rank", "importance")  # the last lies on top
_FEATURES = ("random_features", "outlier_features")
_STRIP = {"raw": 0.955, "centred": 0.895}  # of the axis: where the headlines lie, above all curves
_HIGHEST = 0.84  # of the axis: so far up the curves go
_MARKERS = 12  # on a line

Panel = Callable[[Axes, PrunedModel, float], None]
"""Draws one model into one panel; the last argument is what a headline may lose, as a fraction."""


def panels_of(models: Sequence[PrunedModel]) -> list[tuple[str, Panel]]:
    """Titles and panels of the rows that models need: without shifts or a baseline theirs are left out.

    Args:
        models: Those that are drawn.
    """
    found: list[tuple[str, Panel]] = [("reference accuracy, %", _reference)]
    if any(len(model.unpruned.rows) > 1 for model in models):
        found.append(("mean accuracy of the shifts, %", _shifts))
    if any(curve.robustness for model in models for curve in model.curves):
        found.append(("effective robustness, points", _robustness))
    found.append(("answers that stay, reference, %", _agreement))
    if any(model.curve(order) for model in models for order in _FEATURES):
        found.append(("features zeroed: reference, %", _features))
    return found


def room_for_headlines(column: Sequence[Axes]) -> None:
    """Give the panels of a column one vertical axis, with room above the curves for the headlines.

    Args:
        column: One panel for each model.
    """
    low = min(axes.dataLim.y0 for axes in column)
    high = max(axes.dataLim.y1 for axes in column)
    bottom = min(0.0, low) - 0.04 * (high - min(0.0, low))
    for axes in column:
        axes.set_ylim(bottom, bottom + (high - bottom) / _HIGHEST)


def _reference(axes: Axes, model: PrunedModel, points: float) -> None:
    name = model.unpruned.rows[0].set
    _curves(axes, model, lambda curve: model.accuracies(curve, name))
    axes.axhline(100 * (model.unpruned.reference - points), zorder=1, **LOSS)
    _headline(axes, model, "reference")
    _finish(axes, f"% of the {model.rank_raw:,} directions pruned")


def _shifts(axes: Axes, model: PrunedModel, points: float) -> None:
    _finish(axes, f"% of the {model.rank_raw:,} directions pruned")
    if model.unpruned.shifts_mean is None:
        return
    _curves(axes, model, model.shift_accuracies)
    axes.axhline(100 * (model.unpruned.shifts_mean - points), zorder=1, **LOSS)
    _headline(axes, model, "shifts")


def _robustness(axes: Axes, model: PrunedModel, _points: float) -> None:
    _curves(axes, model, lambda curve: curve.robustness)
    axes.axhline(0, color="0.35", linewidth=0.8, zorder=1)
    _finish(axes, f"% of the {model.rank_raw:,} directions pruned")


def _agreement(axes: Axes, model: PrunedModel, points: float) -> None:
    """The head beside random heads, which say how much any head of this shape keeps."""
    name = model.unpruned.rows[0].set
    _curves(axes, model, lambda curve: model.agreements(curve, name), orders=("random_head", "importance"))
    axes.axhline(100 * (1 - points), zorder=1, **LOSS)
    _finish(axes, f"% of the {model.rank_raw:,} directions pruned")


def _features(axes: Axes, model: PrunedModel, points: float) -> None:
    name = model.unpruned.rows[0].set
    _curves(axes, model, lambda curve: model.accuracies(curve, name), orders=_FEATURES, forms=("",))
    axes.axhline(100 * (model.unpruned.reference - points), zorder=1, **LOSS)
    _finish(axes, f"% of the {model.d:,} features zeroed", paper=False)


def _curves(
    axes: Axes,
    model: PrunedModel,
    figures: Callable[[PruneCurve], Sequence[Sequence[float | None]]],
    orders: Sequence[str] = _DIRECTIONS,
    forms: Sequence[str] = FORMS,
) -> None:
    """A line for each order and form: the mean over the draws, with a band from the lowest to the highest."""
    for order in orders:
        for form in forms:
            curve = model.curve(order, form)
            if curve is None or not (found := figures(curve)):
                continue
            y: NDArray[np.float64] = 100 * np.array(found, dtype=np.float64)
            unsure = np.array(curve.extrapolated, dtype=bool) if found is curve.robustness else np.zeros(0, dtype=bool)
            _line(axes, curve, y, unsure)


def _line(axes: Axes, curve: PruneCurve, y: NDArray[np.float64], unsure: NDArray[np.bool_]) -> None:
    """One curve; thin and pale where any draw is an extrapolation."""
    shown, x = ORDERS[curve.order], 100 * np.array(curve.fractions)
    mean = y.mean(axis=0)
    style: dict[str, Any] = {"linewidth": 1.9}
    if curve.form == "centred":
        style = CENTRED
    elif shown.marker:
        every = max(1, len(x) // _MARKERS)
        style |= {"marker": shown.marker, "markersize": 3.6, "markevery": every, "mew": 0}
    if unsure.size and (pale := unsure.any(axis=0)).any():
        thin = {"linewidth": 0.9, "linestyle": style.get("linestyle", "-")}
        axes.plot(x, mean, color=shown.colour, alpha=0.5, zorder=2, **thin)
        mean = np.where(pale, np.nan, mean)
    axes.plot(x, mean, color=shown.colour, zorder=3, **style)
    if len(y) > 1 and curve.form != "centred":
        axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=shown.colour, alpha=0.2, linewidth=0, zorder=1)


def _headline(axes: Axes, model: PrunedModel, what: str) -> None:
    """How far the most important directions go, with its interval, on a strip above the curves."""
    colour = ORDERS["importance"].colour
    for form in FORMS:
        curve = model.curve("importance", form)
        for found in curve.headlines.get(what, ())[:1] if curve else ():
            x, low, high = (100 * end for end in (found.fraction.estimate, found.fraction.low, found.fraction.high))
            place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "zorder": 5}
            axes.plot([low, high], [_STRIP[form]] * 2, color="black", linewidth=1.3, **place)
            face = colour if form == "raw" else "white"
            axes.plot([x], [_STRIP[form]], "D", markersize=5.5, mfc=face, mec="black", mew=1.0, **place)


def _finish(axes: Axes, words: str, *, paper: bool = True) -> None:
    axes.set_xlim(-2, 102)
    axes.set_xticks([0, 20, 40, 60, 80, 100])
    axes.set_xlabel(words, fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(alpha=0.22, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    if paper:
        axes.axvline(100 * PAPER, zorder=1, **PAPER_LINE)
