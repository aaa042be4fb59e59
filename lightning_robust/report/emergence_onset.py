"""When a figure rises: rules for a handful of seeds and points at log-spaced steps.

Two rules, because neither says everything. The half-rise is taken seed by seed and hangs on both ends of a curve, not
on its noise; it says when the net change happened, so a figure that falls and comes back has a late one or none.
Leaving the untrained value is one figure for all seeds; it says when the change can be told from none, which with three
seeds is late for a small one. Both are known to the spacing of the points, a factor of √2 for two an octave.
"""

import math
from collections.abc import Sequence

from lightning_robust.report.emergence_shown import ROBUSTNESS
from lightning_robust.report.student_t import mean_interval
from lightning_robust.results.emergence_record import EmergenceOnset, EmergencePoint, EmergenceRun

__all__ = ["BEYOND", "RULES", "beyond_standard", "common_points", "half_rise", "leaves", "onset"]

BEYOND = "er/mean/prediction_low"
"""Lower end of the interval by which a model is judged robust beyond a standard one."""
_EXTRAPOLATED = "er/extrapolated"

RULES = (
    "half-rise: for each seed, the images seen at the first point from which on at least half of the change between "
    "step 0 and the last point is passed at every later point; given only where the change is clear, its 95 % "
    "t-interval over the seeds excluding zero (for one seed: where there is any change), and for the seeds that change "
    "in the direction of their mean",
    "leaves: the images seen at the first point from which on, at every later point, the 95 % t-interval over the "
    "seeds of the change since step 0 excludes zero on the side of the last point; points where the figure of any seed "
    "is not defined are passed over; no interval is corrected for the number of figures",
    "robust beyond a standard model: for each seed, the images seen at the first point from which on, at every later "
    "point, the 95 % interval with the scatter of standard models lies above zero without extrapolation",
    "onsets are known to the spacing of the points; a figure that falls and comes back shows its net change alone",
)
"""The rules in sentences, for a record's conventions."""


def half_rise(images: Sequence[float], values: Sequence[float]) -> float:
    """Images seen at the first point from which on half of the whole change is passed and stays passed.

    Args:
        images: Seen at each point, increasing; the first is before training.
        values: The figure at each point; points where it is NaN are passed over, unless it is the first or last.

    Returns:
        One of ``images``; NaN where first and last value are equal or not defined.

    Example:
        >>> half_rise([0, 10, 20, 40, 80], [1.0, 1.6, 1.4, 1.7, 2.0])
        40
    """
    change = values[-1] - values[0]
    if not math.isfinite(change) or change == 0:
        return math.nan
    onset = math.nan
    for seen, value in zip(reversed(images), reversed(values), strict=True):
        if math.isnan(value):
            continue
        if (value - values[0]) / change < 0.5:
            break
        onset = seen
    return onset


def leaves(images: Sequence[float], curves: Sequence[Sequence[float]]) -> float:
    """Images seen at the first point from which on the change since the start excludes zero, to the end and one way.

    Args:
        images: Seen at each point, increasing; the first is before training.
        curves: The figure at each point, a row for each seed; points where it is NaN for any are passed over, unless it
            is the first or last.

    Returns:
        One of ``images``; NaN where the last point's t-interval holds zero, and for fewer than two seeds.

    Example:
        >>> leaves([0, 10, 20], [[0.0, 1.0, 2.0], [0.0, -1.0, 2.1], [0.0, 0.5, 2.2]])
        20
    """
    onset, side = math.nan, 0.0
    for k in range(len(images) - 1, 0, -1):
        mean, half = mean_interval([curve[k] - curve[0] for curve in curves])
        if math.isnan(mean) and side:
            continue
        side = side or math.copysign(1.0, mean)
        if not side * mean > half:  # NaN, too
            break
        onset = images[k]
    return onset


def beyond_standard(points: Sequence[EmergencePoint]) -> float:
    """Images seen at the first point from which on a run is robust beyond a standard model; NaN for none.

    Args:
        points: Of one run.
    """
    onset = math.nan
    for point in reversed(points):
        if not (point.value(BEYOND) > 0 and point.value(_EXTRAPOLATED) == 0):
            break
        onset = float(point.images)
    return onset


def common_points(runs: Sequence[EmergenceRun]) -> list[tuple[EmergencePoint, ...]]:
    """The points of each run at the steps that all of them have.

    Args:
        runs: Seeds of one variant.
    """
    steps = set.intersection(*({point.step for point in run.points} for run in runs)) if runs else set()
    return [tuple(point for point in run.points if point.step in steps) for run in runs]


def onset(figure: str, variant: str, runs: Sequence[EmergenceRun]) -> EmergenceOnset:
    """When a figure rises in a variant.

    Args:
        figure: Its tag; `BEYOND` for the rule of its own.
        variant: Name of the variant.
        runs: Its seeds.
    """
    points = common_points(runs)
    curves = [[point.value(figure) for point in seed] for seed in points]
    images = [float(point.images) for point in points[0]] if points else []
    if not images:
        return EmergenceOnset(
            figure=figure, variant=variant, change=math.nan, change_half_width=math.nan, clear=False,
            half_rise=tuple(math.nan for _ in runs), leaves=math.nan, extrapolated=False,
        )  # fmt: skip
    changes = [curve[-1] - curve[0] for curve in curves]
    change, half = mean_interval(changes)
    clear = bool(change != 0 and math.isfinite(change)) if len(runs) == 1 else abs(change) > half
    if figure == BEYOND:
        rises = tuple(beyond_standard(seed) for seed in points)
    else:
        rises = tuple(
            half_rise(images, curve) if clear and own * change > 0 else math.nan
            for curve, own in zip(curves, changes, strict=True)
        )
    return EmergenceOnset(
        figure=figure, variant=variant, change=change, change_half_width=half, clear=clear, half_rise=rises,
        leaves=math.nan if figure == BEYOND else leaves(images, curves),
        extrapolated=figure.startswith(ROBUSTNESS) and _extrapolated(points, rises),
    )  # fmt: skip


def _extrapolated(points: Sequence[Sequence[EmergencePoint]], rises: Sequence[float]) -> bool:
    return any(
        point.value(_EXTRAPOLATED) == 1.0 and point.images == rise
        for seed, rise in zip(points, rises, strict=True)
        for point in seed
    )
