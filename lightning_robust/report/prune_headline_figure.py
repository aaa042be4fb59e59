"""The picture of the headlines of `prune`: how far each order goes, models and controls side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.prune_cells import lost_words
from lightning_robust.report.prune_panels import PAPER_LINE
from lightning_robust.report.prune_words import (
    FORMS,
    ORDERS,
    PAPER,
    TITLES,
    clipped,
    draw_range,
    fractions_of,
    record_labels,
)
from lightning_robust.results.prune_record import PruneCurve, PrunedModel, PruneRecord

__all__ = ["headline_figure"]

_MANY = 4  # models: of more the first orders alone are shown
_SHOWN = ("importance", "reduced_rank", "random", "smallest_first", "random_head")
_OFFSET = 0.16  # of a row, between raw and centred
_LONGEST = 44  # characters of a model's name


@dataclass(frozen=True)
class _Row:
    """One line of the picture: an order of a model, or without one its name."""

    model: PrunedModel
    label: str
    order: str = ""


def headline_figure(record: PruneRecord) -> Figure:
    """Draw the largest fraction that can be pruned, for each model and order, with its interval.

    Filled is the raw head, white the centred one. A line is the 95 % interval; of a control that is drawn several
    times, the range over the draws about their mean. A random head, which is no better than chance, stands in the
    panel of answers that stay alone, beside what the head itself can lose by that measure.

    Args:
        record: The pruning.
    """
    rows = _rows(record)
    panels = [what for what in TITLES if any(what in c.headlines for m in record.models for c in m.curves)]
    height = 0.235 * len(rows) + 1.35
    figure = Figure(figsize=(4.3 * len(panels) + 2.4, height), dpi=100, layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, what in zip(grid, panels, strict=True):
        for place, row in enumerate(rows):
            if row.order:
                _headlines(axes, row, place, what)
            elif place:
                axes.axhline(place - 0.5, color="0.85", linewidth=0.8)
        axes.axvline(100 * PAPER, zorder=1, **PAPER_LINE)
        axes.set_title(TITLES[what], fontsize=10.5, loc="left")
        axes.set_xlim(-3, 103)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("% of the head's directions pruned", fontsize=9.5)
        axes.grid(axis="x", alpha=0.25, linewidth=0.7)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    grid[0].set_ylim(len(rows) - 0.5, -0.6)
    grid[0].set_yticks(range(len(rows)), [plain(row.label) for row in rows], fontsize=9.5)
    for tick, row in zip(grid[0].get_yticklabels(), rows, strict=True):
        tick.set_fontweight("normal" if row.order else "bold")
    figure.suptitle(_title(record), fontsize=12)
    figure.legend(handles=_legend(record.models), loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    return figure


def _title(record: PruneRecord) -> str:
    lost, same = lost_words(record.points), f"{100 * (1 - record.points):g} %"
    if not any("agreement" in curve.headlines for model in record.models for curve in model.curves):
        return f"How many directions can go with at most {lost} of accuracy lost"
    return f"How many directions can go: at most {lost} of accuracy lost, or {same} of the answers the same (right)"


def _rows(record: PruneRecord) -> list[_Row]:
    rows: list[_Row] = []
    for model, label in zip(record.models, record_labels(record), strict=True):
        chance = ", near chance" if model.near_chance else ""
        rows.append(_Row(model, f"{clipped(label, _LONGEST)}, r = {model.rank_raw:,} of {model.d:,}{chance}"))
        shown = _SHOWN if len(record.models) <= _MANY else _SHOWN[:3]
        there = [order for order in shown if any(model.curve(order, form) for form in FORMS)]
        rows += [_Row(model, ORDERS[order].words, order) for order in there]
    return rows


def _headlines(axes: Axes, row: _Row, place: int, what: str) -> None:
    shown = ORDERS[row.order]
    for form, offset in zip(FORMS, (-_OFFSET, _OFFSET), strict=True):
        curve = row.model.curve(row.order, form)
        if curve is None or (ends := _ends(curve, what)) is None:
            continue
        middle, low, high = (100 * end for end in ends)
        y, face = place + offset, shown.colour if form == "raw" else "white"
        axes.plot([low, high], [y, y], color=shown.colour, linewidth=1.5, zorder=3)
        style: dict[str, Any] = {"mfc": face, "mec": shown.colour, "mew": 1.2, "clip_on": False}
        axes.plot([middle], [y], shown.marker or "o", markersize=5.5, zorder=4, **style)


def _ends(curve: PruneCurve, what: str) -> tuple[float, float, float] | None:
    """Estimate with its interval, or mean with the range over the draws."""
    found = fractions_of(curve, what)
    if not found:
        return None
    if len(found) > 1:
        return draw_range(found)
    fraction = curve.headlines[what][0].fraction
    return fraction.estimate, fraction.low, fraction.high


def _legend(models: Sequence[PrunedModel]) -> Sequence[Line2D]:
    unlike = "" if all(model.comparable for model in models) else "; not comparable where r < d/2"
    mark: dict[str, Any] = {"color": "0.3", "marker": "o", "markersize": 5.5, "mew": 1.2, "linewidth": 1.5}
    return [
        Line2D([], [], label="raw head [95 %, or the range of draws]", **mark),
        Line2D([], [], label="centred head", mfc="white", **mark),
        Line2D([], [], label=f"the paper: up to 80 % on ImageNet{unlike}", **PAPER_LINE),
    ]
