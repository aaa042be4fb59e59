"""Accuracy and effective robustness as curves: along a Wise-FT path, and over the epochs of a training."""

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import grid
from lightning_robust.report.html.judged import JudgedGroup
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.results import CurveRow

__all__ = ["along_path", "while_training"]

_ACCURACY = Axis(label="accuracy, %", percent=True)
_POINTS = Axis(label="effective robustness, points", percent=True)
_VALIDATION = re.compile(r"val/(.+)/accuracy")


def along_path(group: JudgedGroup) -> Markup:
    """Both against α.

    Args:
        group: the points of a path.
    """
    alphas = [model.alpha or 0.0 for model in group.models]
    x = Axis(label="α: 0 before finetuning, 1 after it", low=0, high=1)
    shifts = list(group.models[0].shifts)
    accuracies = {"reference": [model.reference for model in group.models]}
    accuracies |= {name: [model.shifts.get(name, float("nan")) for model in group.models] for name in shifts}
    mean = [model.shifts_mean for model in group.models]
    parts = [chart("Accuracy along the path", x, _ACCURACY, _accuracies(alphas, accuracies, mean))]
    judged = [(model.alpha or 0.0, model.robustness) for model in group.models if model.robustness is not None]
    if judged:
        means = [robustness.mean for _, robustness in judged]
        spans = [one.prediction or one.interval for one in means]
        ends = [(span.low, span.high) for span in spans if span is not None]
        at = [alpha for alpha, _ in judged]
        names = list(judged[0][1].shifts)
        by_shift = {name: [robustness.shifts[name].estimate for _, robustness in judged] for name in names}
        series = _robustness(at, [one.estimate for one in means], ends, by_shift)
        parts.append(chart("Effective robustness along the path", x, _POINTS, series, rules=[0.0]))
    return grid(*parts)


def while_training(rows: Sequence[CurveRow]) -> Markup | None:
    """Both by epoch, on validation images; None where a training logged neither.

    Args:
        rows: a run's curves.
    """
    by_tag: dict[str, dict[int, float]] = {}
    for row in rows:
        by_tag.setdefault(row.tag, {})[row.epoch] = row.value
    x = Axis(label="epoch (0: before training)", whole=True)
    parts = []
    named = {m.group(1): tag for tag in by_tag if (m := _VALIDATION.fullmatch(tag))}
    epochs = sorted({epoch for tag in named.values() for epoch in by_tag[tag]})
    if len(epochs) > 1:
        mean = _over(by_tag, named.pop("shifts", ""), epochs)
        accuracies = {name: _over(by_tag, tag, epochs) for name, tag in named.items()}
        parts.append(chart("Validation accuracy", x, _ACCURACY, _accuracies(epochs, accuracies, mean)))
    epochs = sorted(by_tag.get("er/mean", {}))
    if len(epochs) > 1:
        low, high = (_over(by_tag, f"er/mean/prediction_{end}", epochs) for end in ("low", "high"))
        names = [name.removeprefix("er/") for name in by_tag if re.fullmatch(r"er/(?!mean$|extrapolated$)[^/]+", name)]
        by_shift = {name: _over(by_tag, f"er/{name}", epochs) for name in names}
        series = _robustness(epochs, _over(by_tag, "er/mean", epochs), list(zip(low, high, strict=True)), by_shift)
        parts.append(chart("Effective robustness on validation images", x, _POINTS, series, rules=[0.0]))
    return joined([tag("h3", "While training"), grid(*parts)]) if parts else None


def _over(by_tag: Mapping[str, Mapping[int, float]], name: str, epochs: Sequence[int]) -> list[float]:
    return [by_tag.get(name, {}).get(epoch, float("nan")) for epoch in epochs]


def _accuracies(x: Sequence[float], accuracies: Mapping[str, Sequence[float]], mean: Sequence[float]) -> list[Series]:
    """The reference in black, the mean of the shifts dashed, each shift in a tone of its own."""
    series = [
        Series(name=name, x=x, y=y, tone=7 if k == 0 else 1 + (k - 1) % 6)
        for k, (name, y) in enumerate(accuracies.items())
    ]
    if len(accuracies) > 2:
        series.append(Series(name="mean of shifts", x=x, y=mean, tone=7, dashed=True, marks=False))
    return series


def _robustness(
    x: Sequence[float],
    mean: Sequence[float],
    ends: Sequence[tuple[float, float]],
    by_shift: Mapping[str, Sequence[float]],
) -> list[Series]:
    spans = ends if len(ends) == len(x) else ()
    shifts = [Series(name=name, x=x, y=y, tone=1 + k % 6, marks=False) for k, (name, y) in enumerate(by_shift.items())]
    if len(shifts) < 2:
        shifts = []
    whole = Series(
        name="mean, 95 % with a standard model’s scatter",
        x=x,
        y=mean,
        low=[low for low, _ in spans],
        high=[high for _, high in spans],
        tone=7,
        band=True,
    )
    return [*shifts, whole]
