"""Accuracy on the reference and its shifts, and effective robustness with its scatter."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from lightning_robust.report.html.accuracy_curves import along_path, while_training
from lightning_robust.report.html.blocks import folded, note, percent, table
from lightning_robust.report.html.judged import Judged, JudgedGroup, judged_groups
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.scatter_panels import baseline_of, scatter_panels
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Sources
from lightning_robust.results import EvaluationRecord, Interval
from lightning_robust.results.effective_robustness import ShiftRobustness

__all__ = ["section"]

_FEW = 4  # models whose intervals are all written out


def section(found: Sources) -> Section | None:
    """Tables, scatter and curves of every accuracy that was found.

    Args:
        found: result files.
    """
    groups = judged_groups(found)
    whole = [group for group in groups if not _repeated(group, groups)]
    parts: list[Markup | None] = [_group(found, group, several=len(whole) > 1) for group in whole]
    parts += [while_training(curves.record) for curves in found.curves]
    parts += [folded(f"The same of {group.words}", *_tables(group)) for group in groups if group not in whole]
    shown = [part for part in parts if part is not None]
    if not shown:
        return None
    return Section(id="accuracy", title="Accuracy and effective robustness", body=joined(shown))


def _repeated(group: JudgedGroup, groups: Sequence[JudgedGroup]) -> bool:
    """Whether a command that judges models only in passing stands beside one that does nothing else."""
    return "as it is" in group.words and any("as it is" not in other.words for other in groups)


def _group(found: Sources, group: JudgedGroup, *, several: bool) -> Markup:
    parts: list[Markup | None] = [tag("h3", f"{group.words[0].upper()}{group.words[1:]}") if several else None]
    baseline = baseline_of(found, group)
    if baseline is not None:
        parts += [scatter_panels(group, baseline), _line_note(group)]
    elif any(model.robustness is not None for model in group.models):
        parts.append(note("Without its baseline’s file the scatter of standard models cannot be drawn."))
    if group.path:
        parts.append(along_path(group))
    parts += _tables(group)
    for one in found.evaluations:
        if one.folder == group.folder:
            parts += _differences(one.record)
    return joined(parts)


def _line_note(group: JudgedGroup) -> Markup:
    return note(
        f"Grey: standard models, trained with supervision on the reference alone, their line and the band that holds "
        f"95 % of single ones. Height above the line is effective robustness."
        f"{'' if group.baseline is None else f' Baseline: {group.baseline}.'}"
    )


def _tables(group: JudgedGroup) -> Iterator[Markup]:
    shifts = list(dict.fromkeys(name for model in group.models for name in model.shifts))
    yield _accuracies(group, shifts)
    if any(model.robustness is not None for model in group.models):
        yield _robustness(group)


def _accuracies(group: JudgedGroup, shifts: Sequence[str]) -> Markup:
    columns = ["", "reference", *shifts, *(["mean of shifts"] if len(shifts) > 1 else [])]
    rows = []
    few = len(group.models) <= _FEW
    for model in group.models:
        cells = [_accuracy(model, "reference", model.reference, few)]
        cells += [_accuracy(model, name, model.shifts.get(name), few) for name in shifts]
        rows.append([model.name, *cells, *([percent(model.shifts_mean)] if len(shifts) > 1 else [])])
    said = "in small type" if few else "shown when a figure is pointed at"
    return table(columns, rows, caption=f"Accuracy, %, of {group.data}; 95 % intervals (Wilson) {said}.")


def _accuracy(model: Judged, name: str, accuracy: float | None, few: bool) -> Markup:
    span = model.intervals.get(name)
    if span is None:
        return tag("span", percent(accuracy))
    if few:
        return joined([percent(accuracy), tag("span", f"{percent(span[0])}–{percent(span[1])}", class_="span")])
    return tag("span", percent(accuracy), title=f"{name}: 95 % interval {percent(span[0])} to {percent(span[1])} %")


def _robustness(group: JudgedGroup) -> Markup:
    judged = [(model, model.robustness) for model in group.models if model.robustness is not None]
    shifts = list(dict.fromkeys(name for _, robustness in judged for name in robustness.shifts))
    rows = []
    for model, robustness in judged:
        mean = robustness.mean
        cells = [_points(robustness.shifts[name]) if name in robustness.shifts else Markup("–") for name in shifts]
        rows.append([model.name, _points(mean), _interval(mean.interval), _interval(mean.prediction), *cells])
    columns = ["", "mean", "95 %", "95 %, with scatter", *shifts]
    extrapolated = any(robustness.mean.extrapolated for _, robustness in judged)
    caption = (
        "Effective robustness, accuracy points above the baseline’s line; intervals of the mean without and with the "
        "scatter of single standard models."
    )
    return table(columns, rows, caption=caption + (" † an extrapolation." if extrapolated else ""))


def _points(found: ShiftRobustness) -> Markup:
    span = found.prediction
    words = None if span is None else f"95 % with the scatter of a standard model: {_interval(span)}"
    mark = "†" if found.extrapolated else ""
    return tag("span", percent(found.estimate, signed=True) + mark, title=words)


def _interval(span: Interval | None) -> str:
    return "–" if span is None else f"{percent(span.low, signed=True)} to {percent(span.high, signed=True)}"


def _differences(record: EvaluationRecord) -> Iterator[Markup]:
    """Paired differences from the first model, and published accuracies where they are known."""
    if record.differences:
        rows = [
            [f"{one.model} − {one.other}", "mean of shifts" if one.set == "shifts" else one.set,
             percent(one.interval.estimate, signed=True), _interval(one.interval)]
            for one in record.differences
        ]  # fmt: skip
        yield folded(
            "Differences between models, image by image",
            table(["", "set", "points", "95 %"], rows, caption="Differences of accuracy, paired bootstrap.", left=2),
        )
    published = [
        [model.name, row.set, percent(row.accuracy), percent(model.published[row.set])]
        for model in record.models
        for row in model.rows
        if row.set in model.published
    ]
    if published:
        yield table(["", "set", "measured, %", "published, %"], published, caption="Published accuracies.", left=2)
