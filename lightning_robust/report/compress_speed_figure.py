"""The picture of a compression's speed: how much faster each size is, and what is lost at that speed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lightning_robust.report.compress_style import beside, finish, series_handles, series_style
from lightning_robust.report.compress_summary import SHIFTS, loss
from lightning_robust.report.compress_words import (
    Series,
    all_series,
    beside_words,
    kept_words,
    model_words,
    start_words,
)
from lightning_robust.report.emergence_axis import plain
from lightning_robust.results.compress_record import CompressRecord

__all__ = ["speed_figure"]


def speed_figure(record: CompressRecord) -> Figure:
    """Draw speed against the share kept, a panel for each batch size, and below what accuracy that speed costs.

    Bars reach from the slowest to the fastest round. The dotted line is what operations alone would give.

    Args:
        record: The compression, with times.
    """
    timed = [one for one in all_series(record) if any(point.latency for point in one.points)]
    batches = sorted(record.dense.latency, key=int)
    shown = list(dict.fromkeys((batches[0], batches[-1])))
    sets = [record.dense.reference.set, *([SHIFTS] if record.dense.shifts else [])]
    columns = max(len(shown), len(sets))
    figure = Figure(figsize=(5.4 * columns, 8.4), dpi=100, layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False)
    untuned = [one for one in timed if not one.tuned]
    for axes, batch in zip(grid[0], shown, strict=False):
        _speed_panel(axes, record, untuned, batch)
    for axes, name in zip(grid[1], sets, strict=False):
        _cost_panel(axes, record, timed, name, shown[-1])
    for axes in (*grid[0, len(shown) :], *grid[1, len(sets) :]):
        axes.remove()
    handles = [
        *series_handles(timed),
        Line2D([], [], color="black", linestyle="", marker="D", label=start_words(record)),
        Line2D([], [], color="0.3", linewidth=1.1, linestyle=(0, (1, 2)), label="by operations alone"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    beside_what = "the network as given" if record.already_low_rank else "the dense network"
    figure.suptitle(plain(f"{model_words(record)}: speed beside {beside_what}, {threads}"), fontsize=12)
    return figure


def _speed_panel(axes: Axes, record: CompressRecord, series: Sequence[Series], batch: str) -> None:
    axes.axhline(1.0, color="0.35", linewidth=1)
    for k, one in enumerate(series):
        points = [point for point in one.points if batch in point.latency]
        places = [100 * record.share(point) for point in points]
        speeds = [record.speedup(point, batch) or 1.0 for point in points]
        times = [point.latency[batch] for point in points]
        lows = [speed - (time.speedup_low or speed) for speed, time in zip(speeds, times, strict=True)]
        highs = [(time.speedup_high or speed) - speed for speed, time in zip(speeds, times, strict=True)]
        style, order = series_style(one), 3 + (len(series) - k) / (len(series) + 1)
        axes.plot([100, *places], [1.0, *speeds], **{**style, "marker": ""}, zorder=order)
        marks, bars = beside(places, k, len(series)), {**style, "linestyle": ""}
        axes.errorbar(marks, speeds, yerr=[lows, highs], elinewidth=1.1, **bars, zorder=order)
        ideal = [record.dense.flops / point.flops for point in points]
        axes.plot([100, *places], [1.0, *ideal], color=one.colour, linewidth=1.1, linestyle=(0, (1, 2)), zorder=2)
    axes.plot([100], [1], "D", color="black", markersize=6, zorder=6)
    axes.invert_xaxis()
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(f"{kept_words(record)} kept (%); to the right: smaller", fontsize=9.5)
    finish(axes, f"times as fast as {beside_words(record)}, batch of {batch}")


def _cost_panel(axes: Axes, record: CompressRecord, series: Sequence[Series], name: str, batch: str) -> None:
    axes.axhline(0.0, color="0.35", linewidth=1)
    axes.plot([1], [0], "D", color="black", markersize=6, zorder=5)
    for one in series:
        found = [(record.speedup(point, batch), -100 * loss(record, point, name)) for point in one.points]
        known = [(speed, change) for speed, change in found if speed is not None]
        axes.plot([speed for speed, _ in known], [change for _, change in known], **series_style(one), zorder=3)
    axes.set_xlabel(f"times as fast as {beside_words(record)}, batch of {batch}", fontsize=9.5)
    words = "the mean of the shifts" if name == SHIFTS else name
    finish(axes, f"change of accuracy on {words} (points)")
