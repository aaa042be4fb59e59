"""The scatter of effective robustness: standard models on their line, and what lies above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lightning_robust.errors import UserError
from lightning_robust.report.accuracy_axis import accuracy_axes
from lightning_robust.results import atomic_path
from lightning_robust.results.baseline_record import ModelAccuracies

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness import Baseline
    from lightning_robust.robustness.links import Link

__all__ = ["scatter_figure", "write_scatter"]

# Okabe and Ito's palette, told apart by the colour-blind; the path has its blue
_PATH = "#0072B2"
_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("D", "s", "^", "v", "P", "X")
_STANDARD = "0.45"
_BANDS: tuple[tuple[Literal["line", "prediction"], str, str], ...] = (
    ("line", "0.66", "its 95 % band"),
    ("prediction", "0.84", "95 % of standard models"),
)
_FEW = 12  # points of a group that are drawn large


def scatter_figure(
    baseline: Baseline,
    models: Mapping[str, Sequence[ModelAccuracies]] | None = None,
    path: Mapping[float, ModelAccuracies] | None = None,
) -> Figure:
    """Draw a panel for each shift and one for their mean, on the baseline's scale with axes in percent.

    Each panel shows the standard models, their line with its 95 % band (dark) and the 95 % band of one standard model
    about it (light), dashed and paler outside the models' reference range; y = x dotted.

    Args:
        baseline: the standard models and their lines.
        models: models that are judged, in groups by the words of the legend.
        path: the points of a Wise-FT path by α, joined by a line.

    Example:
        >>> from lightning_robust.robustness import load_baseline
        >>> len(scatter_figure(load_baseline("imagenet")).axes)
        6
    """
    from lightning_robust.robustness.baseline import MEAN

    groups = {label: list(group) for label, group in (models or {}).items()}
    curve = dict(sorted((path or {}).items()))
    panels = [*baseline.shifts, MEAN] if len(baseline.shifts) > 1 else list(baseline.shifts)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * max(columns, 2), 3.1 * rows + 0.7), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for k, axes in enumerate(grid.flat):
        if k >= len(panels):
            axes.remove()
            continue
        _panel(axes, baseline, panels[k], groups, curve)
        if k % columns == 0:
            axes.set_ylabel("accuracy on the shift (%)", fontsize=9)
        if k + columns >= len(panels):
            on = "its classes of the reference" if baseline.x == "matched" else "the reference"
            axes.set_xlabel(f"accuracy on {on} (%)", fontsize=9)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def write_scatter(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, SVG or PDF by the file's ending, whole or not at all.

    Args:
        figure: what to write.
        file: where.

    Raises:
        UserError: another ending, or the folder is not there.

    Example:
        >>> write_scatter(Figure(), Path("scatter.gif"))
        Traceback (most recent call last):
        lightning_robust.errors.UserError: a scatter is a .png, .svg or .pdf, got scatter.gif
    """
    form = file.suffix.lower().removeprefix(".")
    if form not in ("png", "svg", "pdf"):
        raise UserError(f"a scatter is a .png, .svg or .pdf, got {file}")
    if not file.parent.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {file.parent}")
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format=form, dpi=160)


def _panel(
    axes: Axes,
    baseline: Baseline,
    shift: str,
    groups: Mapping[str, Sequence[ModelAccuracies]],
    curve: Mapping[float, ModelAccuracies],
) -> None:
    from lightning_robust.robustness.bands import points
    from lightning_robust.robustness.links import link_named

    forward = link_named(baseline.scale).forward
    standard = points(baseline, baseline.models, shift)
    judged = {label: points(baseline, group, shift) for label, group in groups.items()}
    path = points(baseline, list(curve.values()), shift)
    x, y = (np.concatenate(parts) for parts in zip(standard, path, *judged.values(), strict=True))
    ends = accuracy_axes(axes, forward, x, y)
    label = f"{len(baseline.models)} standard models"
    axes.plot(*map(forward, standard), "o", color=_STANDARD, markersize=3.2, mew=0, alpha=0.8, label=label)
    u = forward(standard[0])
    _line(axes, baseline, shift, ends, (float(u.min()), float(u.max())))
    for k, (label, place) in enumerate(judged.items()):
        size = 7 if len(place[0]) <= _FEW else 4.5
        colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
        axes.plot(
            *map(forward, place), marker, color=colour, markersize=size, mec="white", mew=0.6, label=label, zorder=3
        )
    if curve:
        _path(axes, list(curve), forward(path[0]), forward(path[1]))
    axes.set_title(_title(baseline, shift), fontsize=10.5)


def _title(baseline: Baseline, shift: str) -> str:
    """The mean panel shows the mean of the lines, or where there is no such line the one on the mean accuracy."""
    from lightning_robust.robustness.baseline import MEAN

    return "mean accuracy" if shift == MEAN and baseline.lines_of(MEAN) == [baseline.mean_line] else shift


def _line(axes: Axes, baseline: Baseline, shift: str, ends: tuple[float, float], known: tuple[float, float]) -> None:
    """The line with both bands; paler and dashed outside the range of the standard models."""
    from lightning_robust.robustness.bands import band
    from lightning_robust.robustness.links import link_named

    link = link_named(baseline.scale)
    x = np.unique(np.concatenate([np.linspace(*ends, 81), known]))
    inside = (x >= known[0]) & (x <= known[1])
    accuracy = link.inverse(x)
    line = _on_scale(link, baseline.expected(accuracy, shift))
    axes.plot(x, line, "--", color="0.3", linewidth=1, zorder=2)
    axes.plot(x[inside], line[inside], color="0.2", linewidth=1.4, zorder=2, label="their line")
    for kind, colour, words in _BANDS:
        low, high = (_on_scale(link, end) for end in band(baseline, accuracy, shift, kind))
        order = 1.5 if kind == "line" else 1.0
        axes.fill_between(x, low, high, color=colour, linewidth=0, alpha=0.35, zorder=order)
        axes.fill_between(x, low, high, where=inside, color=colour, linewidth=0, label=words, zorder=order)
    axes.plot(ends, ends, ":", color="0.5", linewidth=1, zorder=1, scalex=False, scaley=False, label="y = x")


def _path(axes: Axes, alphas: Sequence[float], x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, "o-", color=_PATH, markersize=4.5, mec="white", mew=0.5, linewidth=1.6, label="Wise-FT", zorder=4)
    for k in (0, -1) if len(alphas) > 1 else (0,):
        if np.isfinite(x[k]) and np.isfinite(y[k]):
            axes.annotate(
                f"α = {alphas[k]:g}",
                (x[k], y[k]),
                xytext=(-5, 6) if k == 0 else (5, -11),
                textcoords="offset points",
                ha="right" if k == 0 else "left",
                fontsize=8.5,
                color=_PATH,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
                zorder=5,
            )


def _on_scale(link: Link, accuracy: np.ndarray) -> np.ndarray:
    return link.forward(np.clip(accuracy, 1e-6, 1 - 1e-6))
