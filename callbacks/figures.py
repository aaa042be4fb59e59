"""Figures for TensorBoard: a curve over ranks, now and before training."""

from collections.abc import Sequence
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

_PLACE: Final = (0.12, 0.13, 0.85, 0.78)


def rank_curve(tag: str, now: Sequence[float], before: Sequence[float] | None, moment: str) -> Figure:
    """Draw values by rank on a logarithmic scale, with those from before training in grey.

    Args:
        tag: What they are; the title.
        now: Values, largest first.
        before: The same before training, or None.
        moment: When it is, for the legend.
    """
    figure = Figure(figsize=(5.2, 3.4), dpi=100)
    axes = figure.add_axes(_PLACE)  # places are given: finding them takes more than half of the time
    if before is not None:
        axes.plot(range(1, len(before) + 1), before, color="0.65", linewidth=1.5, label="before training")
    axes.plot(range(1, len(now) + 1), now, color="#1f5fa8", linewidth=1.8, label=moment)
    if any(value > 0 for value in now):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))  # mathematics is slow to set
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("rank")
    axes.xaxis.set_label_coords(0.5, -0.09)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(tag, fontsize=9, y=1.0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure
