"""The picture of a probe over the step checkpoints of a run: each figure over steps, on a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from lightning_robust.report.emergence_axis import place
from lightning_robust.report.emergence_table import thousands
from lightning_robust.report.shorten import short_names
from lightning_robust.results.steps_record import StepsRecord

__all__ = ["steps_figure"]

_H = "#0072B2"
_OTHERS = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#9D755D", "#8C8C8C")
_HEADS = {"raw head": ("raw", _H), "centred head": ("centred", "#D55E00")}
_BASES = {
    "head's singular vectors": ("singular_vectors", (_H, "-")),
    "neurons": ("neurons", ("#D55E00", "--")),
    "random directions": ("random_rotation", ("0.35", ":")),
}
_Lines = Mapping[str, tuple[str, str, str]]
"""Label to tag, colour and dashes."""


def steps_figure(record: StepsRecord) -> Figure:
    """Draw kurtosis, outlier features, RankMe, importance, privileged directions and concepts over steps.

    Args:
        record: What was measured.
    """
    figure = Figure(figsize=(12.5, 7.0), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3)
    h = record.representation
    _panel(axes[0, 0], record, _layers(record, "kurtosis/{}"), "kurtosis (dotted: a Gaussian's, 3)")
    _panel(axes[0, 1], record, _layers(record, "outliers/{}/features"), "outlier features", count=True)
    _panel(axes[0, 2], record, _layers(record, "spectrum/{}/rankme"), "RankMe of the features")
    ratio = {words: (f"importance/{h}/{head}/max_over_median", colour, "-") for words, (head, colour) in _HEADS.items()}
    _panel(axes[1, 0], record, ratio, "importance of directions, largest over median", log=True)
    privileged = {words: (f"importance/{h}/{head}/privileged", colour, "-") for words, (head, colour) in _HEADS.items()}
    _panel(axes[1, 1], record, privileged, "privileged directions", count=True)
    bases = {words: (f"concepts/{h}/{basis}/mean_best_ap", *style) for words, (basis, style) in _BASES.items()}
    _panel(axes[1, 2], record, bases, "concepts, mean best AP")
    if axes[0, 0].lines:
        axes[0, 0].axhline(3.0, color="0.45", linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    for panel in axes[1]:
        panel.set_xlabel("optimiser steps", fontsize=9)
    figure.suptitle(f"{_short(record.run)}: {record.origin}", fontsize=11.5)
    return figure


def _short(run: str) -> str:
    parts = Path(run).parts
    return run if len(parts) < 5 else str(Path("…", *parts[-4:]))


def _layers(record: StepsRecord, tag: str) -> _Lines:
    """A line for each layer, h drawn last and in blue."""
    names = [layer.name for layer in record.layers]
    short = short_names(names)
    others = [name for name in names if name != record.representation]
    lines = {short[name]: (tag.format(name), _OTHERS[k % len(_OTHERS)], "-") for k, name in enumerate(others)}
    if record.representation in names:
        lines["h"] = (tag.format(record.representation), _H, "-")
    return lines


def _panel(
    axes: Axes, record: StepsRecord, lines: _Lines, title: str, *, log: bool = False, count: bool = False
) -> None:
    steps = [float(point.step) for point in record.points]
    first = min((step for step in steps if step > 0), default=1.0)
    for words, (tag, colour, dashes) in lines.items():
        values = [point.figures.get(tag, math.nan) for point in record.points]
        if not all(math.isnan(value) for value in values):
            width = 2.2 if words == "h" or len(lines) < 4 else 1.6
            (line,) = axes.plot(place(steps, first), values, dashes, color=colour, linewidth=width, label=words)
            line.set(marker="o", markersize=3)
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.grid(alpha=0.22, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    _steps_axis(axes, steps, first)
    if not axes.lines:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="0.5")
        return
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif count:
        axes.set_ylim(-0.03 * max(axes.get_ylim()[1], 1.0), max(axes.get_ylim()[1], 1.0))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8.5)


def _steps_axis(axes: Axes, steps: Sequence[float], first: float) -> None:
    """A logarithmic axis with step 0, where there is one, at its left end."""
    axes.set_xscale("log")
    start = 0.5 * first if 0.0 in steps else first
    last = max(first, *steps)
    axes.set_xlim(0.84 * start, 1.18 * last)
    decades = [10.0**k for k in range(13) if first <= 10.0**k <= last]
    ticks = {start: "0" if 0.0 in steps else thousands(start)} | {tick: thousands(tick) for tick in decades}
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)) if last > first else NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
