"""The verdict on a model in sentences, from its effective robustness and the intervals of it."""

import math

from lightning_robust.report.html.blocks import percent
from lightning_robust.report.html.judged import Judged, JudgedGroup
from lightning_robust.results.effective_robustness import ShiftRobustness

__all__ = ["ends", "lead_of", "shift_by_shift", "standing", "told_of"]

_MOST = 4  # shifts that are named


def standing(found: ShiftRobustness) -> str:
    """How a model stands to standard models of its reference accuracy, by the interval that holds their scatter.

    Example:
        >>> from lightning_robust.results import Interval
        >>> span = Interval(0.2, 0.1, 0.3, level=0.95, replicates=2000, seed=0)
        >>> standing(ShiftRobustness(accuracy=0.6, expected=0.4, estimate=0.2, interval=span, prediction=span,
        ...     extrapolated=False))
        'more robust than a standard model'
    """
    span = found.prediction
    if span is None or not math.isfinite(found.estimate):
        return "of undetermined robustness"
    if span.low > 0:
        return "more robust than a standard model"
    if span.high < 0:
        return "less robust than a standard model"
    return "not told apart from a standard model"


def ends(found: ShiftRobustness) -> str:
    """The interval that holds the scatter of standard models, in points; empty without one."""
    span = found.prediction
    if span is None:
        return ""
    return f"{100 * span.level:g} % interval {percent(span.low, signed=True)} to {percent(span.high, signed=True)}"


def lead_of(group: JudgedGroup) -> str:
    """The verdict in one or two sentences.

    Args:
        group: models of one command, a path or models by themselves.
    """
    first, model = group.models[0], told_of(group)
    if model.robustness is None:
        return _without_baseline(group, model)
    mean = model.robustness.mean
    if _whole_path(group) and first.robustness is not None:
        return _path(mean, first.robustness.mean)
    if len(group.models) == 1:
        return f"{_sentence(model.name, mean)}{_caution(mean)}"
    return _several(group, model.name, mean)


def told_of(group: JudgedGroup) -> Judged:
    """The model that the verdict and its figures are of: the end of a path, else the furthest above the line.

    Args:
        group: models of one command.
    """
    judged = [model for model in group.models if model.robustness is not None]
    if not judged or _whole_path(group):
        return group.models[-1]
    return max(judged, key=_estimate)


def _whole_path(group: JudgedGroup) -> bool:
    """Whether the first is the model before finetuning and the last the one after it."""
    return group.path and group.models[0].alpha == 0 and group.models[-1].alpha == 1


def _path(end: ShiftRobustness, before: ShiftRobustness) -> str:
    kept = standing(end) == standing(before) and standing(end).startswith("more") and end.estimate <= before.estimate
    told = f"After finetuning the model is {'still ' if kept else ''}{standing(end)}: {_lies(end)}"
    return f"{told}, against {percent(before.estimate, signed=True)} before it.{_caution(end)}"


def shift_by_shift(model: Judged) -> str:
    """Where a model lies on each of its shifts, for a mean can hide one on which it is like any other; empty for one.

    Args:
        model: with its effective robustness.
    """
    if model.robustness is None or len(model.robustness.shifts) < 2:
        return ""
    ordered = sorted(model.robustness.shifts.items(), key=lambda item: item[1].estimate)
    (worst, least), (best, most) = ordered[0], ordered[-1]
    by_standing: dict[str, list[str]] = {}
    for name, found in model.robustness.shifts.items():
        by_standing.setdefault(standing(found), []).append(name)
    told = [f"{words} on {_places(names, len(ordered))}" for words, names in by_standing.items()]
    return (
        f"Shift by shift it lies between {percent(least.estimate, signed=True)} points ({worst}) and "
        f"{percent(most.estimate, signed=True)} ({best}): {'; '.join(told)}."
    )


def _places(names: list[str], count: int) -> str:
    if len(names) == count:
        return f"all {count}"
    listed = ", ".join(names)
    return listed if len(names) <= _MOST else f"{len(names)} of {count}"


def _sentence(name: str, mean: ShiftRobustness) -> str:
    return f"{name} is {standing(mean)}: {_lies(mean)}."


def _lies(mean: ShiftRobustness) -> str:
    span = ends(mean)
    return f"{percent(mean.estimate, signed=True)} points of effective robustness" + (f" ({span})" if span else "")


def _caution(mean: ShiftRobustness) -> str:
    if not mean.extrapolated:
        return ""
    return " This is an extrapolation: its reference accuracy lies outside that of the baseline’s models."


def _several(group: JudgedGroup, best: str, mean: ShiftRobustness) -> str:
    means = [model.robustness.mean for model in group.models if model.robustness is not None]
    count = sum(standing(one).startswith("more") for one in means)
    beyond = f"{count} of {len(means)} models {'is' if count == 1 else 'are'} more robust than a standard model"
    return f"{beyond}; furthest above the line lies {best} with {_lies(mean)}.{_caution(mean)}"


def _estimate(model: Judged) -> float:
    value = model.robustness.mean.estimate if model.robustness else math.nan
    return value if math.isfinite(value) else -math.inf


def _without_baseline(group: JudgedGroup, model: Judged) -> str:
    shifts = ""
    if len(model.shifts) == 1:
        shifts = f" and {percent(model.shifts_mean)} % on the shift {next(iter(model.shifts))}"
    elif model.shifts:
        shifts = f" and {percent(model.shifts_mean)} % in the mean over {len(model.shifts)} shifts"
    name = f"The model at {model.name}" if group.path else model.name
    return (
        f"{name} is right on {percent(model.reference)} % of the reference{shifts}. Its robustness is undetermined: "
        "it was not compared with a baseline of standard models."
    )
