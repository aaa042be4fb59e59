"""The curves of `prune`: a row of panels for each model, what is left against the fraction that is pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.prune_cells import lost_words
from lightning_robust.report.prune_panels import CENTRED, LOSS, PAPER_LINE, panels_of, room_for_headlines
from lightning_robust.report.prune_words import ORDERS, clipped, record_labels
from lightning_robust.results.prune_record import PrunedModel, PruneRecord

__all__ = ["pruning_figure"]

_TITLE = 29  # characters of a title above each panel
_SHORTEST = 12  # characters of a model's name in it


def pruning_figure(record: PruneRecord, models: Sequence[PrunedModel] | None = None) -> Figure:
    """Draw what is left of accuracy and effective robustness against the fraction of directions pruned.

    Panels of a row: accuracy on the reference, in the mean over the shifts, effective robustness, the answers that the
    head and random heads keep, and features zeroed in place of directions. Without shifts or a baseline their panels
    are left out. A column has one vertical axis.

    Args:
        record: The pruning.
        models: Those to draw, of its models; None draws all.
    """
    drawn = list(record.models if models is None else models)
    named = zip(record.models, record_labels(record), strict=True)
    labels = [label for model, label in named if model in drawn]
    panels = panels_of(drawn)
    figure = Figure(figsize=(2.95 * len(panels) + 0.2, 2.85 * len(drawn) + 1.25), dpi=100, layout="constrained")
    rows = figure.subfigures(len(drawn), 1, squeeze=False)[:, 0]
    grid = []
    for row, model, label in zip(rows, drawn, labels, strict=True):
        row.suptitle(plain(_title(model, label, len(panels))), fontsize=10.5, x=0.008, ha="left", weight="bold")
        grid.append(row.subplots(1, len(panels), squeeze=False)[0])
        for axes, (title, draw) in zip(grid[-1], panels, strict=True):
            draw(axes, model, record.points)
            axes.set_title(title, fontsize=10, loc="left")
    for column in zip(*grid, strict=True):
        room_for_headlines(column)
    figure.legend(
        handles=_legend(drawn, record.points), loc="outside lower center", ncols=4, frameon=False, fontsize=9.5
    )
    return figure


def _title(model: PrunedModel, label: str, panels: int) -> str:
    unlike = "" if model.comparable else "; r < d/2: not comparable with the paper"
    chance = "; near chance: nothing to conclude" if model.near_chance else ""
    counted = f": r = {model.rank_raw:,} of d = {model.d:,} ({model.rank_centred:,} centred){unlike}{chance}"
    return f"{clipped(label, max(_SHORTEST, _TITLE * panels - len(counted)))}{counted}"


def _legend(models: Sequence[PrunedModel], points: float) -> list[Any]:
    there = {curve.order for model in models for curve in model.curves}
    handles: list[Any] = [
        Line2D(
            [], [], color=shown.colour, linewidth=1.9, marker=shown.marker or None, markersize=4.5, label=shown.words
        )
        for order, shown in ORDERS.items()
        if order in there
    ]
    handles.append(Line2D([], [], color="0.3", label="dashed: centred head", **CENTRED))
    if any(curve.draws > 1 for model in models for curve in model.curves):
        handles.append(Patch(color="0.5", alpha=0.3, label="lowest to highest of the draws"))
    if any(flag for model in models for curve in model.curves for draw in curve.extrapolated for flag in draw):
        handles.append(Line2D([], [], color="0.3", linewidth=0.9, alpha=0.5, label="pale: extrapolated robustness"))
    lost = lost_words(points)
    mark: dict[str, Any] = {"color": "black", "marker": "D", "markersize": 5.5, "mfc": ORDERS["importance"].colour}
    return [
        *handles,
        Line2D([], [], linewidth=1.3, label=f"most that can go for {lost} [95 %]; white: centred", **mark),
        Line2D([], [], label=f"{lost} below the unpruned model", **LOSS),
        Line2D([], [], label="the paper: up to 80 % on ImageNet", **PAPER_LINE),
    ]
