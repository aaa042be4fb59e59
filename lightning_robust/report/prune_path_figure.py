"""The headlines of `prune` along a Wise-FT path: how far each order goes at every α."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.prune_cells import lost_words, shown_fraction, shown_headlines
from lightning_robust.report.prune_panels import CENTRED, PAPER_LINE
from lightning_robust.report.prune_words import FORMS, ORDERS, PAPER, TITLES, is_path, twin_of
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["path_figure"]

_SHOWN = ("importance", "reduced_rank", "random", "smallest_first", "random_head")
_TWIN: dict[str, Any] = {"color": "0.35", "linewidth": 1.3, "linestyle": (0, (4, 1, 1, 1, 1, 1))}


def path_figure(record: PruneRecord) -> Figure | None:
    """Draw the largest fraction pruned against α, a panel for the reference and one for the mean of the shifts.

    Solid is the raw head, dashed the centred one; the band about the most important directions is the 95 % interval,
    about a control the range of its draws. The supervised twin is a level line.

    Args:
        record: The pruning.

    Returns:
        None where the models are no path of two points or more.
    """
    if not is_path(record.models):
        return None
    models = sorted((one for one in record.models if one.role == "asked"), key=lambda one: one.alpha or 0.0)
    panels = [what for what in TITLES if any(what in curve.headlines for one in models for curve in one.curves)]
    figure = Figure(figsize=(4.6 * len(panels) + 0.4, 4.9), dpi=100, layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, what in zip(grid, panels, strict=True):
        for order in reversed(_SHOWN):
            for form in FORMS:
                _line(axes, models, order, form, what)
        twin = twin_of(record)
        own = None if twin is None else shown_fraction(twin, "importance", what)
        if own is not None:
            axes.axhline(100 * own.estimate, zorder=1, **_TWIN)
        _finish(axes, TITLES[what])
    grid[0].set_ylabel(f"% of r pruned for {lost_words(record.points)}", fontsize=9.5)
    figure.suptitle("How many directions can go along the path", fontsize=12)
    figure.legend(handles=_legend(record, models), loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    return figure


def _line(axes: Axes, models: Sequence[PrunedModel], order: str, form: str, what: str) -> None:
    shown, x, rows = ORDERS[order], [], []
    for model in models:
        curve = model.curve(order, form)
        headlines = () if curve is None else shown_headlines(curve, what)
        fractions = [100 * one.fraction.estimate for one in headlines]
        if not fractions:
            continue
        ends = (min(fractions), max(fractions))
        if len(fractions) == 1:
            ends = (100 * headlines[0].fraction.low, 100 * headlines[0].fraction.high)
        x.append(model.alpha or 0.0)
        rows.append((fmean(fractions), *ends))
    if not rows:
        return
    middle, low, high = zip(*rows, strict=True)
    style: dict[str, Any] = CENTRED if form == "centred" else {"linewidth": 1.9, "marker": shown.marker or "."}
    axes.plot(x, middle, color=shown.colour, markersize=4.5, zorder=3, **style)
    if form == "raw" and order in ("importance", "random"):
        axes.fill_between(x, low, high, color=shown.colour, alpha=0.18, linewidth=0)


def _finish(axes: Axes, title: str) -> None:
    axes.axhline(100 * PAPER, zorder=1, **PAPER_LINE)
    axes.set_ylim(-4, 104)
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.set_xlabel("α: 0 before finetuning, 1 after it", fontsize=9.5)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(record: PruneRecord, models: Sequence[PrunedModel]) -> list[Line2D]:
    there = {curve.order for model in models for curve in model.curves}
    handles = [
        Line2D([], [], color=ORDERS[order].colour, marker=ORDERS[order].marker or ".", label=ORDERS[order].words)
        for order in _SHOWN
        if order in there
    ]
    handles.append(Line2D([], [], color="0.3", label="dashed: centred head", **CENTRED))
    twin = twin_of(record)
    if twin is not None:
        handles.append(Line2D([], [], label=plain(f"{twin.name}, most important kept"), **_TWIN))
    unlike = "" if all(model.comparable for model in models) else "; not comparable where r < d/2"
    return [*handles, Line2D([], [], label=f"the paper: up to 80 % on ImageNet{unlike}", **PAPER_LINE)]
