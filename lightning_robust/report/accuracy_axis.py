"""Axes of accuracy on the scale of a baseline, with ticks in percent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

__all__ = ["accuracy_axes", "percent_ticks"]

_PERCENT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
_ROUNDEST = (50, 10, 90, 1, 99, 0.1, 99.9, 30, 70, 20, 80, 5, 95, 40, 60, 2, 98)  # kept where ticks crowd
_CLOSEST = 0.115  # of the axis, between two ticks


def accuracy_axes(
    axes: Axes, forward: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    """Set limits and ticks of both axes so that all points are seen, in coordinates of the scale.

    Args:
        axes: what is drawn on.
        forward: accuracy to the scale, elementwise.
        x: accuracies in (0, 1); NaN is left out.
        y: likewise.

    Returns:
        Left and right end of the abscissa, on the scale.
    """
    ends = []
    for values, axis, limit in ((x, axes.xaxis, axes.set_xlim), (y, axes.yaxis, axes.set_ylim)):
        known = forward(values[np.isfinite(values)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (-2.0, 2.0)
        pad = 0.06 * (high - low) or 0.1
        low, high = low - pad, high + pad
        ticks = percent_ticks(low, high, forward)
        axis.set_ticks(forward(np.array(ticks) / 100).tolist(), [f"{tick:g}" for tick in ticks])
        limit(low, high)
        ends.append((low, high))
    axes.tick_params(labelsize=8.5)
    axes.grid(color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return ends[0]


def percent_ticks(low: float, high: float, forward: Callable[[np.ndarray], np.ndarray]) -> list[float]:
    """Round percentages between two ends of a scale, none too close to another.

    Args:
        low: one end, on the scale.
        high: the other.
        forward: accuracy to the scale, elementwise.

    Example:
        >>> percent_ticks(-3.0, 3.0, lambda p: np.log(p / (1 - p)))
        [5, 10, 30, 50, 70, 90, 95]
    """
    inside = _inside(_PERCENT, low, high, forward)
    if len(inside) < 3:
        for step in (10, 5, 2, 1, 0.5, 0.2, 0.1):
            inside = _inside(tuple(np.round(np.arange(step, 100, step), 3).tolist()), low, high, forward)
            if len(inside) >= 3:
                break
    by_roundness = sorted(inside, key=lambda tick: _ROUNDEST.index(tick) if tick in _ROUNDEST else len(_ROUNDEST))
    kept: list[float] = []
    for tick in by_roundness:
        place = forward(np.array(tick / 100))
        if all(abs(place - forward(np.array(other / 100))) >= _CLOSEST * (high - low) for other in kept):
            kept.append(tick)
    return sorted(kept)


def _inside(
    percent: tuple[float, ...], low: float, high: float, forward: Callable[[np.ndarray], np.ndarray]
) -> list[float]:
    return [tick for tick in percent if low <= forward(np.array(tick / 100)) <= high]
