"""The picture of a run: accuracy and signatures over epochs, from its curve file."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_robust.report.headline import headline
from lightning_robust.results import CurveRow, atomic_path

_PREDICTED, _PREDICTION = "diagnosis/er/predicted", "#e45756"
_SHIFT_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#72b7b2", "#e45756")


def curves_figure(rows: Sequence[CurveRow], path: Path) -> None:
    """Draw accuracies, the headline signatures and effective robustness by epoch, and write a PNG atomically.

    Args:
        rows: A run's curves.
        path: The picture.
    """
    tags = list(dict.fromkeys(row.tag for row in rows))
    head = headline(tags)
    robustness = "er/mean" in tags or _PREDICTED in tags
    figure = Figure(figsize=(16 if robustness else 12, 7.2), dpi=110, layout="constrained")
    axes = figure.subplots(2, 4 if robustness else 3)
    if robustness:
        _mean_robustness(axes[0, 3], rows)
        shifts = {m.group(1): m.group(0) for tag in tags if (m := re.fullmatch(r"er/([^/]+)", tag))}
        shown = {name: tag for name, tag in shifts.items() if name not in ("mean", "extrapolated")}
        if shown:
            _curves(axes[1, 3], rows, shown, "effective robustness by shift, points", factor=100)
            axes[1, 3].axhline(0, color="0.5", linewidth=0.8)
        else:
            axes[1, 3].remove()  # predicted without being measured
    _accuracies(axes[0, 0], rows, tags)
    layers = {
        short: tag.split("/")[1] for tag in tags if re.fullmatch(r"kurtosis/[^/]+", tag) if (short := _short(tag))
    }
    kurtosis = {short: f"kurtosis/{layer}" for short, layer in layers.items()}
    _curves(axes[0, 1], rows, kurtosis, "kurtosis (a Gaussian gives 3)")
    outliers = {short: f"outliers/{layer}/features" for short, layer in layers.items()}
    _curves(axes[0, 2], rows, outliers, "outlier features", least_top=1.0)
    importance = {"raw head": head.importance_raw, "centred head": head.importance_centred}
    _curves(
        axes[1, 0], rows, {k: tag for k, tag in importance.items() if tag}, "importance, largest over median", log=True
    )
    bases = ("singular_vectors", "neurons", "random_rotation")
    best = {b.replace("_", " "): f"concepts/{head.layer}/{b}/mean_best_ap" for b in bases}
    _curves(axes[1, 1], rows, best, "concepts, mean best AP")
    spectrum = {short: f"spectrum/{layer}/rankme" for short, layer in layers.items()}
    _curves(axes[1, 2], rows, spectrum, "RankMe of the features")
    figure.supxlabel("epoch (0: before training); dotted: the untrained encoder", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _short(tag: str) -> str:
    """A layer's name without what every layer of a CLIP classifier has in front."""
    return re.sub(r"^(model\.)?encoder\.", "", tag.split("/")[1])


def _accuracies(axes: Axes, rows: Sequence[CurveRow], tags: Sequence[str]) -> None:
    names = [m.group(1) for tag in tags if (m := re.fullmatch(r"val/([^/]+)/accuracy", tag))]
    for k, name in enumerate(n for n in names if n != "shifts"):
        colour, width = ("black", 2.4) if k == 0 else (_SHIFT_COLOURS[(k - 1) % len(_SHIFT_COLOURS)], 1.4)
        _line(axes, rows, f"val/{name}/accuracy", name, colour, width, factor=100)
    _line(axes, rows, "val/shifts/accuracy", "mean of shifts", "#e45756", 2.4, factor=100, dashes="--")
    axes.set_title("validation accuracy, %", fontsize=10)
    _finish(axes)


def _curves(
    axes: Axes, rows: Sequence[CurveRow], tags: Mapping[str, str], title: str,
    *, log: bool = False, least_top: float | None = None, factor: float = 1.0,
) -> None:  # fmt: skip
    for k, (name, tag) in enumerate(tags.items()):
        colour = _SHIFT_COLOURS[k % len(_SHIFT_COLOURS)]
        _line(axes, rows, tag, name, colour, 1.8, factor=factor)
        _line(axes, rows, f"{tag}/untrained", None, colour, 1.0, dashes=":")
    if log and axes.lines:
        axes.set_yscale("log")
    if least_top is not None:
        axes.set_ylim(-0.03 * least_top, max(least_top, axes.get_ylim()[1]))
    axes.set_title(title, fontsize=10)
    _finish(axes)


def _mean_robustness(axes: Axes, rows: Sequence[CurveRow]) -> None:
    """The mean with both intervals, line and sampling error and the scatter of standard models; what was predicted."""
    bands = {
        "95 %, a standard model": ("er/mean/prediction_low", "er/mean/prediction_high", 0.15),
        "95 %": ("er/mean/low", "er/mean/high", 0.35),
    }
    for label, (low, high, alpha) in bands.items():
        _band(axes, rows, (low, high), "#4c78a8", alpha, label)
    _band(axes, rows, ("diagnosis/er/low", "diagnosis/er/high"), _PREDICTION, 0.15, "predicted: interval")
    _line(axes, rows, "er/mean", "mean", "#1f3f66", 2.0, factor=100)
    _line(axes, rows, _PREDICTED, "predicted without shifts", _PREDICTION, 1.6, factor=100)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_title("effective robustness, points", fontsize=10)
    _finish(axes)


def _band(axes: Axes, rows: Sequence[CurveRow], tags: tuple[str, str], colour: str, alpha: float, label: str) -> None:
    """What lies between two curves, where both are numbers."""
    lower, upper = ({row.epoch: 100 * row.value for row in rows if row.tag == tag} for tag in tags)
    epochs = [epoch for epoch in lower if math.isfinite(lower[epoch]) and math.isfinite(upper.get(epoch, math.inf))]
    if epochs:
        low, high = ([end[epoch] for epoch in epochs] for end in (lower, upper))
        axes.fill_between(epochs, low, high, color=colour, alpha=alpha, linewidth=0, label=label)


def _line(
    axes: Axes, rows: Sequence[CurveRow], tag: str, label: str | None, colour: str, width: float,
    *, factor: float = 1.0, dashes: str = "-",
) -> None:  # fmt: skip
    points = [(row.epoch, factor * row.value) for row in rows if row.tag == tag]
    if points:
        x, y = zip(*points, strict=True)
        marker = "o" if dashes == "-" else None
        axes.plot(x, y, dashes, color=colour, linewidth=width, label=label, marker=marker, markersize=3)


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))
