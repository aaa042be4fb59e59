"""The headlines of `prune` along a Wise-FT path: how far each order goes at every α."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.prune_cells import lost_words, shown_fraction, shown_headlines
from lightning_robust.report.prune_panels import CENTRED, PAPER_LINE
from lightning_robust.report.prune_words import FORMS, ORDERS, PAPER, TITLES, clipped, is_path, twin_of
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["path_figure"]

_SHOWN = ("importance", "reduced_rank", "random", "smallest_first", "random_head")
_PLACES = {"reference": "for {}, reference", "shifts": "for {}, shifts", "agreement": "with the same answers"}
_LONGEST = 40  # characters of the twin's words in the legend
_TWIN: dict[str, Any] = {"color": "0.35", "linewidth": 1.3, "linestyle": (0, (4, 1, 1, 1, 1, 1))}


def path_figure(record: PruneRecord) -> Figure | None:
    """Draw the largest fraction pruned against α, on the reference and in the mean of the shifts, and the robustness.

    Solid is the raw head, dashed the centred one; the band about the most important directions is the 95 % interval,
    about a control the range of its draws. Random heads stand beside the head where answers stay. The supervised twin
    is a level line. Where it is known, the effective robustness of the unpruned models is beside it:
    does what can go follow it?

    Args:
        record: The pruning.

    Returns:
        None where the models are no path of two points or more.
    """
    if not is_path(record.models):
        return None
    models = sorted((one for one in record.models if one.role == "asked"), key=lambda one: one.alpha or 0.0)
    panels = [what for what in TITLES if any(what in curve.headlines for one in models for curve in one.curves)]
    robust = all(one.unpruned.robustness is not None for one in models)
    figure = Figure(figsize=(3.9 * (len(panels) + robust) + 0.4, 4.9), dpi=100, layout="constrained")
    grid = figure.subplots(1, len(panels) + robust, squeeze=False)[0]
    twin = twin_of(record)
    for axes, what in zip(grid, panels, strict=False):
        for order in reversed(_SHOWN):
            for form in FORMS:
                _line(axes, models, order, form, what)
        own = None if twin is None else shown_fraction(twin, "importance", what)
        if own is not None:
            axes.axhline(100 * own.estimate, zorder=1, **_TWIN)
        axes.axhline(100 * PAPER, zorder=1, **PAPER_LINE)
        axes.set_ylim(-4, 104)
        _finish(axes, f"% of r pruned {_PLACES[what].format(lost_words(record.points))}")
    if robust:
        _robustness(grid[-1], models, twin)
    figure.suptitle("How many directions can go along the path", fontsize=12)
    handles = _legend(record, models)
    figure.legend(handles=handles, loc="outside lower center", ncols=2 + robust, frameon=False, fontsize=9.5)
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


def _robustness(axes: Axes, models: Sequence[PrunedModel], twin: PrunedModel | None) -> None:
    """Of the models as they are, with the interval of line and sampling error."""
    found = [(one.alpha or 0.0, one.unpruned.robustness.mean) for one in models if one.unpruned.robustness is not None]
    x, y = [alpha for alpha, _ in found], [100 * er.estimate for _, er in found]
    if all(er.interval is not None for _, er in found):
        ends = [(100 * er.interval.low, 100 * er.interval.high) for _, er in found if er.interval is not None]
        lows, highs = [low for low, _ in ends], [high for _, high in ends]
        axes.fill_between(x, lows, highs, color="0.2", alpha=0.15, linewidth=0)
    axes.plot(x, y, "o-", color="0.2", markersize=4.5, linewidth=1.9)
    if twin is not None and twin.unpruned.robustness is not None:
        axes.axhline(100 * twin.unpruned.robustness.mean.estimate, zorder=1, **_TWIN)
    axes.axhline(0, color="0.35", linewidth=0.8, zorder=0)
    _finish(axes, "effective robustness, unpruned, points")


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("α: 0 before finetuning, 1 after it", fontsize=9.5)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(record: PruneRecord, models: Sequence[PrunedModel]) -> list[Any]:
    there = {curve.order for model in models for curve in model.curves}
    handles: list[Any] = [
        Line2D([], [], color=ORDERS[order].colour, marker=ORDERS[order].marker or ".", label=ORDERS[order].words)
        for order in _SHOWN
        if order in there
    ]
    handles.append(Line2D([], [], color="0.3", label="dashed: centred head", **CENTRED))
    twin = twin_of(record)
    if twin is not None:
        handles.append(Line2D([], [], label=plain(clipped(f"supervised twin {twin.name}", _LONGEST)), **_TWIN))
    unlike = "" if all(model.comparable for model in models) else "; not comparable here"
    handles.append(Line2D([], [], label=f"paper: up to 80 % on ImageNet{unlike}", **PAPER_LINE))
    return [*handles, Patch(color="0.5", alpha=0.3, label="95 %, or lowest to highest of the draws")]
