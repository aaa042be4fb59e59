"""The picture of onsets: at how many images each figure has gone half of its way, variant by variant."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lightning_robust.report.emergence_axis import images_axis, plain, variant_colours
from lightning_robust.report.emergence_cells import thousands
from lightning_robust.report.emergence_onset import BEYOND
from lightning_robust.report.emergence_shown import ROBUSTNESS, shown_figures, variant_words
from lightning_robust.results.emergence_record import EmergenceOnset, EmergenceRecord

__all__ = ["onset_figure"]


def onset_figure(record: EmergenceRecord) -> Figure:
    """Draw a row for each shown figure: the half-rise of each variant, seeds as small dots joined by a line.

    A triangle is the mean over the seeds, upwards for a figure that rises and downwards for one that falls, hollow
    where effective robustness is an extrapolation. A dotted line is where effective robustness rises in the variant of
    its colour. At the right edge a cross stands for no clear change, or for an onset that is not within the run, and a
    fraction for the share of the seeds that have one, where it is not all.

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
    figure = Figure(figsize=(9.0, 0.46 * len(rows) + 1.9), dpi=100, layout="constrained")
    axes = figure.subplots()
    seen = [point.images for run in record.runs for point in run.points if point.images > 0]
    last = float(max(seen))
    known = [value for one in record.onsets for value in one.half_rise if not math.isnan(value)]
    first = max(float(min(seen)), 0.5 * min(known, default=0.0))
    _guides(axes, [onsets[ROBUSTNESS, name] for name in record.variants if (ROBUSTNESS, name) in onsets], colours)
    for k, (tag, _) in enumerate(rows):
        if k % 2:
            axes.axhspan(k - 0.5, k + 0.5, color="0.955", linewidth=0, zorder=0)
        for j, variant in enumerate(record.variants):
            y = k + 0.8 * ((j + 0.5) / len(record.variants) - 0.5)
            _row(axes, onsets[tag, variant], y, colours[variant], 1.5 * last)
    axes.set_yticks(range(len(rows)), [plain(name) for _, name in rows], fontsize=9.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    images_axis(axes, first, last)
    axes.set_xlim(0.8 * first, 1.9 * last)
    ticks = [tick for tick in axes.get_xticks() if 0.8 * first <= tick <= last and tick > 0.6 * first]
    axes.set_xticks([*ticks, 1.5 * last], [*(thousands(tick) for tick in ticks), "none"])
    axes.set_xticks([k * 10.0**n for n in range(1, 13) for k in (2, 5) if first <= k * 10.0**n <= last], minor=True)
    axes.axvline(1.18 * last, color="0.75", linewidth=0.8)
    for tick in ticks:
        axes.axvline(tick, color="0.86", linewidth=0.8, zorder=0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("training images seen when half of the change is passed", fontsize=10)
    axes.set_title("When each figure has gone half of its way", fontsize=13, loc="left")
    handles = _legend(colours, record.onsets)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    return figure


def _guides(axes: Axes, robustness: Sequence[EmergenceOnset], colours: dict[str, str]) -> None:
    for onset in robustness:
        known = [value for value in onset.half_rise if not math.isnan(value)]
        if known and onset.change > 0:
            mean = math.fsum(known) / len(known)
            axes.axvline(mean, color=colours[onset.variant], linewidth=1.0, linestyle=":", alpha=0.8, zorder=1)


def _row(axes: Axes, onset: EmergenceOnset, y: float, colour: str, never: float) -> None:
    known = [value for value in onset.half_rise if not math.isnan(value)]
    if not known:
        axes.plot([never], [y], "x", color=colour, markersize=5, mew=1.4)
        return
    if len(known) < len(onset.half_rise):
        share = f"{len(known)}/{len(onset.half_rise)}"
        axes.text(never, y, share, color=colour, fontsize=7, ha="center", va="center_baseline")
    mean = math.fsum(known) / len(known)
    axes.plot([min(known), max(known)], [y, y], color=colour, linewidth=1.6, alpha=0.7, solid_capstyle="round")
    axes.plot(known, [y] * len(known), "o", color=colour, markersize=3, mew=0)
    falls = onset.change < 0 and onset.figure != BEYOND
    face, marker = "white" if onset.extrapolated else colour, "v" if falls else "^"
    axes.plot([mean], [y], marker, color=colour, markersize=6.3, mfc=face, mew=1.3, zorder=4)


def _legend(colours: dict[str, str], onsets: Sequence[EmergenceOnset]) -> Sequence[Line2D]:
    marks: dict[str, dict[str, Any]] = {
        "mean over the seeds, rising": {"marker": "^", "markersize": 6.3},
        "mean over the seeds, falling": {"marker": "v", "markersize": 6.3},
        "with an extrapolation": {"marker": "^", "markersize": 6.3, "mfc": "white", "mew": 1.3},
        "one seed": {"marker": "o", "markersize": 3},
        "no clear change, or not in the run": {"marker": "x", "markersize": 5, "mew": 1.4},
    }
    if any(0 < sum(not math.isnan(value) for value in one.half_rise) < len(one.half_rise) for one in onsets):
        marks["so many of the seeds only"] = {"marker": "$2/3$", "markersize": 13, "mew": 0.3}
    if any(one.figure == ROBUSTNESS and one.change > 0 and one.clear for one in onsets):
        marks["rise of effective robustness"] = {"linestyle": ":", "linewidth": 1.2}
    styles: dict[str, dict[str, Any]] = {
        **{plain(variant_words(name)): {"color": colour, "linewidth": 2.6} for name, colour in colours.items()},
        **{words: {"color": "0.3", "linestyle": "none", **style} for words, style in marks.items()},
    }
    return [Line2D([], [], label=words, **style) for words, style in styles.items()]
