"""The picture of a comparison: each figure over the images seen, variants as colours, seeds as thin lines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from lightning_robust.report.emergence_axis import images_axis, place, plain, variant_colours
from lightning_robust.report.emergence_onset import common_points
from lightning_robust.report.emergence_shown import ROBUSTNESS, ShownFigure, shown_figures, variant_words
from lightning_robust.report.emergence_summary import by_variant
from lightning_robust.results.emergence_record import EmergenceOnset, EmergencePoint, EmergenceRecord, EmergenceRun

__all__ = ["emergence_figure"]

_COLUMNS = 4
_LEGEND_PANELS = 2  # free panels that hold the legend
_EXTRAPOLATED = "er/extrapolated"
_PARTIAL: dict[str, Any] = {"mfc": "white", "mew": 1.6}


def emergence_figure(record: EmergenceRecord) -> Figure:
    """Draw every shown figure over the images seen, on a logarithmic axis with step 0 at its left end.

    Thin lines are seeds, thick ones their mean; a dot marks the half-rise where the change is clear. Effective
    robustness is dashed where it is an extrapolation for any seed. A figure that has one value at every point of every
    run has no panel; the line below the panels names it.

    Args:
        record: Summarised, see `emergence_summary.summarised`; at least one run with two points.
    """
    still = {figure: value for figure in shown_figures(record.runs) if (value := _constant(record, figure)) is not None}
    shown = [figure for figure in shown_figures(record.runs) if figure not in still] or list(still)
    rows = -(-len(shown) // _COLUMNS)
    engine = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.06, hspace=0.02)
    free = rows * _COLUMNS - len(shown)
    height = 2.3 * rows + (0.5 if free >= _LEGEND_PANELS else 1.25)
    figure = Figure(figsize=(3.05 * _COLUMNS, height), dpi=100, layout=engine)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    colours = variant_colours(record.variants)
    onsets = {(one.figure, one.variant): one for one in record.onsets}
    seen = [point.images for run in record.runs for point in run.points if point.images > 0]
    first, last = float(min(seen)), float(max(seen))
    for k, axes in enumerate(grid.flat):
        if k >= len(shown):
            axes.set_axis_off()
            continue
        for variant, runs in by_variant(record.runs).items():
            _curves(axes, shown[k], runs, colours[variant], first, onsets.get((shown[k].tag, variant)))
        _finish(axes, shown[k])
        images_axis(axes, first, last)
        if k + _COLUMNS >= len(shown):
            axes.set_xlabel("training images seen", fontsize=9)
    handles = _legend(colours, shown, len(record.seeds), any(_partial(onset) for onset in record.onsets))
    note = _still_words({figure: value for figure, value in still.items() if figure not in shown})
    if free >= _LEGEND_PANELS:
        room = grid.flat[len(shown)]
        room.legend(
            handles=handles, loc="center left", bbox_to_anchor=(0.02, 0.5), ncols=2, frameon=False, fontsize=10,
            title=note, title_fontsize=9.5, borderpad=0, alignment="left", labelspacing=0.75,
        ).set_in_layout(False)  # fmt: skip
    else:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(5, -(-len(handles) // 2)), frameon=False,
            fontsize=10, title=note, title_fontsize=9.5,
        )  # fmt: skip
    count = len(record.seeds)
    figure.suptitle(
        f"How accuracy, effective robustness and signatures change in pretraining ({count} seed{'s' * (count > 1)})",
        fontsize=13.5,
    )
    return figure


def _constant(record: EmergenceRecord, shown: ShownFigure) -> float | None:
    """The value that a figure, and its control, have at every point of every run."""
    tags = [shown.tag] if shown.control is None else [shown.tag, shown.control]
    values = {point.value(tag) for run in record.runs for point in run.points for tag in tags}
    return values.pop() if len(values) == 1 else None


def _still_words(still: Mapping[ShownFigure, float]) -> str | None:
    if not still:
        return None
    named: dict[str, list[str]] = {}
    for figure, value in still.items():
        named.setdefault(f"{figure.factor * value:g}", []).append(figure.words)
    return plain("\n".join(f"{value} at every point: {', '.join(them)}" for value, them in named.items()))


def _partial(onset: EmergenceOnset) -> bool:
    """Whether some of the seeds have an onset and some have none."""
    return 0 < sum(not math.isnan(value) for value in onset.half_rise) < len(onset.half_rise)


def _curves(
    axes: Axes,
    shown: ShownFigure,
    runs: Sequence[EmergenceRun],
    colour: str,
    first: float,
    onset: EmergenceOnset | None,
) -> None:
    for run in runs if len(runs) > 1 else ():
        y: Sequence[float] = [shown.factor * point.value(shown.tag) for point in run.points]
        axes.plot(place([p.images for p in run.points], first), y, color=colour, linewidth=0.7, alpha=0.45)
    points = common_points(runs)
    images = [float(point.images) for point in points[0]]
    x, mean = place(images, first), _mean(points, shown.tag, shown.factor)
    unsure = [any(seed[k].value(_EXTRAPOLATED) == 1.0 for seed in points) for k in range(len(images))]
    if shown.tag == ROBUSTNESS and any(unsure):
        axes.plot(x, mean, "--", color=colour, linewidth=1.4, zorder=3)
        # the part between two points is known where both are
        axes.plot(x, np.where(unsure, np.nan, mean), color=colour, linewidth=2.3, zorder=3)
    else:
        axes.plot(x, mean, color=colour, linewidth=2.3, zorder=3)
    if shown.control is not None:
        axes.plot(x, _mean(points, shown.control, shown.factor), ":", color=colour, linewidth=1.3, zorder=2)
    known = [value for value in onset.half_rise if not math.isnan(value)] if onset is not None else []
    if known:
        rise = math.fsum(known) / len(known)
        height = float(np.interp(math.log(rise), np.log(x), mean))
        style = _PARTIAL | {"mec": colour} if onset is not None and _partial(onset) else {"mec": "white", "mew": 1.1}
        axes.plot([rise], [height], "o", color=colour, markersize=7, zorder=5, **style)


def _mean(points: Sequence[Sequence[EmergencePoint]], tag: str, factor: float) -> NDArray[np.float64]:
    values = np.array([[point.value(tag) for point in seed] for seed in points], dtype=np.float64)
    mean: NDArray[np.float64] = factor * values.mean(axis=0)
    return mean


def _finish(axes: Axes, shown: ShownFigure) -> None:
    axes.set_title(plain(shown.words), fontsize=10.5, loc="left")
    axes.grid(alpha=0.22, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    low, high = axes.get_ylim()
    if shown.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif shown.tag == ROBUSTNESS:
        axes.axhline(0, color="0.35", linewidth=0.8, zorder=1)
    elif shown.tag.startswith("kurtosis/"):
        axes.axhline(3.0, color="0.45", linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    elif shown.is_count:
        axes.set_ylim(min(low, -0.03 * max(high, 1.0)), max(high, 1.0))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _legend(colours: Mapping[str, str], shown: Sequence[ShownFigure], seeds: int, partial: bool) -> list[Line2D]:
    def line(words: str, **style: Any) -> Line2D:
        return Line2D([], [], label=words, **{"color": "0.3", **style})

    handles = [line(plain(variant_words(name)), color=colour, linewidth=2.6) for name, colour in colours.items()]
    if seeds > 1:
        handles.append(line("one seed", linewidth=0.8, alpha=0.6))
    handles.append(line("half-rise", linestyle="none", marker="o", markersize=7, mec="white"))
    if partial:
        handles.append(line("half-rise of some seeds", linestyle="none", marker="o", markersize=7, **_PARTIAL))
    if any(figure.tag == ROBUSTNESS for figure in shown):
        handles.append(line("extrapolated robustness", linestyle="--", linewidth=1.4))
    if any(figure.control is not None for figure in shown):
        handles.append(line("concepts of random directions", linestyle=":", linewidth=1.4))
    if any(figure.tag.startswith("kurtosis/") for figure in shown):
        handles.append(line("kurtosis of a Gaussian, 3", linestyle=(0, (1, 2)), linewidth=0.9))
    return handles
