"""The pictures of a compression: accuracy along the share of parameters kept, speed, and what speed costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lightning_robust.report.compress_ranks_figure import budgeted, ranks_figure
from lightning_robust.report.compress_speed_figure import speed_figure
from lightning_robust.report.compress_style import beside, finish, series_handles, series_style
from lightning_robust.report.compress_summary import POINTS, SHIFTS
from lightning_robust.report.compress_words import Series, all_series, kept_words, model_words, start_words
from lightning_robust.report.emergence_axis import plain
from lightning_robust.results import Interval, atomic_path
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord

__all__ = ["ACCURACY_PICTURES", "RANKS_PICTURES", "SPEED_PICTURES", "accuracy_figure", "write_compression_figures"]

ACCURACY_PICTURES = ("accuracy.png", "accuracy.svg")
SPEED_PICTURES = ("speed.png", "speed.svg")
RANKS_PICTURES = ("ranks.png", "ranks.svg")

_Value = Callable[[CompressedPoint], tuple[float, float, float]]
"""Value and the ends of its interval, in points; NaN where there is none."""


def write_compression_figures(record: CompressRecord, folder: Path) -> None:
    """Write the pictures of a compression into its folder, as PNG and SVG, each whole or not at all.

    Args:
        record: The compression.
        folder: Where to write; it exists. Without times there is no picture of speed, without sizes of
            the matrices none of ranks.
    """
    pictures = [(accuracy_figure(record), ACCURACY_PICTURES)]
    if record.dense.latency:
        pictures.append((speed_figure(record), SPEED_PICTURES))
    if budgeted(record):
        pictures.append((ranks_figure(record), RANKS_PICTURES))
    for figure, names in pictures:
        for name in names:
            with atomic_path(folder / name) as temporary:
                figure.savefig(temporary, format=Path(name).suffix.removeprefix("."), dpi=160)


def accuracy_figure(record: CompressRecord) -> Figure:
    """Draw accuracy on the reference, the mean of the shifts and effective robustness against the share kept.

    Bars are 95 % intervals: of accuracies by paired bootstrap of the change against the dense network, about whose
    accuracy they are drawn. The dotted line lies one point below the dense network. Effective robustness is pale where
    it is an extrapolation, as that of a network that is near chance.

    Args:
        record: The compression.
    """
    series = all_series(record)
    reference = record.dense.reference.set
    panels: list[tuple[str, _Value]] = [
        (f"accuracy on {reference} (%)", lambda point: _accuracy(record, point, reference))
    ]
    if record.dense.shifts:
        panels.append(("mean accuracy on the shifts (%)", lambda point: _accuracy(record, point, SHIFTS)))
    if any(point.robustness for point in record.points):
        panels.append(("effective robustness, mean over shifts (points)", _robustness))
    figure = Figure(figsize=(4.5 * max(2, len(panels)), 5.0), dpi=100, layout="constrained")
    for axes, (title, value) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, record, series, value)
        finish(axes, title)
        axes.set_xlabel(f"{kept_words(record)} kept (%); to the right: smaller", fontsize=9.5)
        if value is not _robustness:
            axes.axhline(value(record.dense)[0] - 100 * POINTS, color="0.35", linewidth=1, linestyle=(0, (1, 2)))
    handles = [*series_handles(series), *_lines(record)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    figure.suptitle(
        plain(f"{model_words(record)}, compressed: {record.data.dataset}, {record.split} images"), fontsize=12
    )
    return figure


def _panel(axes: Axes, record: CompressRecord, series: Sequence[Series], value: _Value) -> None:
    dense = value(record.dense)[0]
    axes.axhline(dense, color="0.35", linewidth=1)
    axes.plot([100], [dense], "D", color="black", markersize=6, zorder=6)
    for k, one in enumerate(series):
        places = [100 * record.share(point) for point in one.points]
        values = [value(point) for point in one.points]
        style, order = series_style(one), 3 + (len(series) - k) / (len(series) + 1)
        start = value(_start(record, one))[0]
        axes.plot([100, *places], [start, *(middle for middle, _, _ in values)], **{**style, "marker": ""}, zorder=3)
        for point, x, (middle, low, high) in zip(one.points, beside(places, k, len(series)), values, strict=True):
            pale = value is _robustness and point.robustness is not None and point.robustness.mean.extrapolated
            bar = [[middle - low], [high - middle]]
            axes.errorbar([x], [middle], yerr=bar, **style, elinewidth=1.1, alpha=0.35 if pale else 1.0, zorder=order)
    _shares_axis(axes, record)


def _start(record: CompressRecord, series: Series) -> CompressedPoint:
    """Where a line begins: at the dense network, finetuned alike where that was made."""
    epochs = series.points[0].finetuned_epochs
    alike = (one for one in record.points if one.method == "dense" and one.finetuned_epochs == epochs)
    return next(alike, record.dense)


def _shares_axis(axes: Axes, record: CompressRecord) -> None:
    shares = [100 * record.share(point) for point in record.points]
    least, most = min(shares), max(100.0, *shares)
    pad = 0.05 * (most - least) or 5.0
    axes.set_xlim(most + pad, least - pad)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))


def _accuracy(record: CompressRecord, point: CompressedPoint, name: str) -> tuple[float, float, float]:
    dense, own = (one.shifts_mean if name == SHIFTS else one.reference.accuracy for one in (record.dense, point))
    return _ends(100 * own, 100 * dense, point.differences.get(name))


def _robustness(point: CompressedPoint) -> tuple[float, float, float]:
    if point.robustness is None:
        return math.nan, math.nan, math.nan
    mean = point.robustness.mean
    return _ends(100 * mean.estimate, 0.0, mean.interval)


def _ends(value: float, zero: float, interval: Interval | None) -> tuple[float, float, float]:
    if interval is None:
        return value, math.nan, math.nan
    # an interval by quantiles may leave its estimate just outside
    return value, min(value, zero + 100 * interval.low), max(value, zero + 100 * interval.high)


def _lines(record: CompressRecord) -> list[Line2D]:
    grey: dict[str, Any] = {"color": "0.35", "linewidth": 1}
    lines = [
        Line2D([], [], **grey, marker="D", markerfacecolor="black", markeredgecolor="black", label=start_words(record)),
        Line2D([], [], **grey, linestyle=(0, (1, 2)), label=f"one point below {start_words(record)}"),
    ]
    if any(point.robustness and point.robustness.mean.extrapolated for point in record.points):
        words = "pale: reference accuracy outside the baseline's"
        lines.append(Line2D([], [], color="0.35", alpha=0.35, linestyle="", marker="o", label=words))
    return lines
