"""Figures for TensorBoard: a curve over ranks, now and before training."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def rank_curve(tag: str, now: Sequence[float], before: Sequence[float] | None, moment: str) -> Figure:
    """Draw values by rank on a logarithmic scale, with those from before training in grey.

    Args:
        tag: What they are; the title.
        now: Values, largest first.
        before: The same before training, or None.
        moment: When it is, for the legend.
    """
    figure = Figure(figsize=(5.2, 3.4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    if before is not None:
        axes.plot(range(1, len(before) + 1), before, color="0.65", linewidth=1.5, label="before training")
    axes.plot(range(1, len(now) + 1), now, color="#1f5fa8", linewidth=1.8, label=moment)
    if any(value > 0 for value in now):
        axes.set_yscale("log")
    axes.set_xlabel("rank")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(tag, fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure
