"""The picture of onsets: at how many images each figure has gone half of its way, variant by variant."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_robust.report.emergence_axis import images_axis, variant_colours
from lightning_robust.report.emergence_onset import BEYOND
from lightning_robust.report.emergence_shown import shown_figures, variant_words
from lightning_robust.results.emergence_record import EmergenceOnset, EmergenceRecord

__all__ = ["onset_figure"]


def onset_figure(record: EmergenceRecord) -> Figure:
    """Draw a row for each shown figure: the half-rise of each variant, seeds as small dots joined by a line.

    A triangle is the mean over the seeds, upwards for a figure that rises and downwards for one that falls, hollow
    where effective robustness is an extrapolation. At the right edge a cross stands for no clear change, or for an
    onset that is not within the run.

    Args:
        record: Summarised, see `emergence_summary.summarised`.
    """
    words = {figure.tag: figure.words for figure in shown_figures(record.runs)}
    if any(one.figure == BEYOND for one in record.onsets):
        after = list(words).index("er/mean") + 1
        rows = [*list(words.items())[:after], (BEYOND, "robust beyond a standard model"), *list(words.items())[after:]]
    else:
        rows = list(words.items())
    colours = variant_colours(record.variants)
    onsets = {(one.figure, one.variant): one for one in record.onsets}
    figure = Figure(figsize=(9.6, 0.54 * len(rows) + 1.9), dpi=100, layout="constrained")
    axes = figure.subplots()
    seen = [point.images for run in record.runs for point in run.points if point.images > 0]
    first, last = float(min(seen)), float(max(seen))
    for k, (tag, _) in enumerate(rows):
        if k % 2:
            axes.axhspan(k - 0.5, k + 0.5, color="0.955", linewidth=0, zorder=0)
        for j, variant in enumerate(record.variants):
            y = k + 0.68 * ((j + 0.5) / len(record.variants) - 0.5)
            _row(axes, onsets[tag, variant], y, colours[variant], 1.5 * last)
    axes.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=9.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    images_axis(axes, first, last)
    axes.set_xlim(0.8 * first, 1.85 * last)
    axes.axvline(1.18 * last, color="0.75", linewidth=0.8)
    axes.grid(axis="x", alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("training images seen when half of the change is passed", fontsize=10)
    axes.set_title("When each figure has gone half of its way", fontsize=13, loc="left")
    figure.legend(handles=_legend(colours), loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    return figure


def _row(axes: Axes, onset: EmergenceOnset, y: float, colour: str, never: float) -> None:
    known = [value for value in onset.half_rise if not math.isnan(value)]
    if not known:
        axes.plot([never], [y], "x", color=colour, markersize=5, mew=1.4)
        return
    mean = math.fsum(known) / len(known)
    axes.plot([min(known), max(known)], [y, y], color=colour, linewidth=1.6, alpha=0.7, solid_capstyle="round")
    axes.plot(known, [y] * len(known), "o", color=colour, markersize=3, mew=0)
    falls = onset.change < 0 and onset.figure != BEYOND
    face, marker = "white" if onset.extrapolated else colour, "v" if falls else "^"
    axes.plot([mean], [y], marker, color=colour, markersize=7, mfc=face, mew=1.3, zorder=4)


def _legend(colours: dict[str, str]) -> Sequence[Line2D]:
    marks: dict[str, dict[str, Any]] = {
        "mean over the seeds, rising": {"marker": "^", "markersize": 7},
        "mean over the seeds, falling": {"marker": "v", "markersize": 7},
        "with an extrapolation": {"marker": "^", "markersize": 7, "mfc": "white", "mew": 1.3},
        "one seed": {"marker": "o", "markersize": 3},
        "no clear change, or not in the run": {"marker": "x", "markersize": 5, "mew": 1.4},
    }
    lines = [Line2D([], [], color=colour, linewidth=2.6, label=variant_words(name)) for name, colour in colours.items()]
    return [
        *lines,
        *(Line2D([], [], color="0.3", linestyle="none", label=words, **style) for words, style in marks.items()),
    ]
