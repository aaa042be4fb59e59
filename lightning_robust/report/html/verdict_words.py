"""The verdict on a model in sentences, from its effective robustness and the intervals of it."""

import math

from lightning_robust.report.html.blocks import percent
from lightning_robust.report.html.judged import Judged, JudgedGroup
from lightning_robust.results.effective_robustness import ShiftRobustness

__all__ = ["ends", "lead_of", "standing"]


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
    first, last = group.models[0], group.models[-1]
    if last.robustness is None or first.robustness is None:
        return _without_baseline(group)
    if group.path and first.alpha == 0 and last.alpha == 1:
        return _path(last.robustness.mean, first.robustness.mean.estimate)
    if len(group.models) == 1:
        return f"{_sentence(first.name, first.robustness.mean)}{_caution(first.robustness.mean)}"
    return _several(group)


def _path(end: ShiftRobustness, before: float) -> str:
    rose = end.estimate > before
    kept = "still " if standing(end).startswith("more") and not rose else ""
    told = f"After finetuning the model is {kept}{standing(end)}: {_lies(end)}"
    return f"{told}, against {percent(before, signed=True)} before it.{_caution(end)}"


def _sentence(name: str, mean: ShiftRobustness) -> str:
    return f"{name} is {standing(mean)}: {_lies(mean)}."


def _lies(mean: ShiftRobustness) -> str:
    span = ends(mean)
    return f"{percent(mean.estimate, signed=True)} points of effective robustness" + (f" ({span})" if span else "")


def _caution(mean: ShiftRobustness) -> str:
    if not mean.extrapolated:
        return ""
    return " This is an extrapolation: its reference accuracy lies outside that of the baseline’s models."


def _several(group: JudgedGroup) -> str:
    judged = [model for model in group.models if model.robustness is not None]
    best = max(judged, key=lambda model: _estimate(model))
    count = sum(1 for model in judged if model.robustness and model.robustness.mean.beyond_standard)
    mean = best.robustness.mean if best.robustness else None
    if mean is None:
        return _without_baseline(group)
    beyond = f"{count} of {len(judged)} models are more robust than a standard model"
    return f"{beyond}; furthest above the line lies {best.name} with {_lies(mean)}.{_caution(mean)}"


def _estimate(model: Judged) -> float:
    value = model.robustness.mean.estimate if model.robustness else math.nan
    return value if math.isfinite(value) else -math.inf


def _without_baseline(group: JudgedGroup) -> str:
    model, shifts = group.models[-1], ""
    if len(model.shifts) == 1:
        shifts = f" and {percent(model.shifts_mean)} % on the shift {next(iter(model.shifts))}"
    elif model.shifts:
        shifts = f" and {percent(model.shifts_mean)} % in the mean over {len(model.shifts)} shifts"
    name = f"The model at {model.name}" if group.path else model.name
    return (
        f"{name} is right on {percent(model.reference)} % of the reference{shifts}. Its robustness is undetermined: "
        "it was not compared with a baseline of standard models."
    )
