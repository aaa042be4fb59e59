"""Two models side by side: accuracies, robustness, signatures and what their privileged directions stand for."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from markupsafe import Markup

from lightning_robust.report.diagnosis_words import figure_words
from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.bars import Bar, bars
from lightning_robust.report.html.blocks import DASH, grid, note, number, percent, table
from lightning_robust.report.html.judged import Judged, JudgedGroup, best_group
from lightning_robust.report.html.markup import joined
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import run_words
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.results.probe_record import DirectionConcepts, ProbeRecord
from lightning_robust.results.run_record import RunRecord

__all__ = ["section"]

_DIRECTIONS, _CONCEPTS = 8, 3
_SHOWN = (
    "kurtosis/h", "kurtosis/h/width_adjusted", "kurtosis/last", "kurtosis/last/width_adjusted", "kurtosis/largest",
    "outliers/h", "outliers/last", "outliers/largest", "neuron_norm_kurtosis/h", "rankme/h", "rankme/last",
    "covariance_effective_rank/h", "importance/raw/max_over_median", "importance/raw/privileged",
    "importance/centred/max_over_median", "importance/centred/privileged", "head/stable_rank", "head/effective_rank",
    "head/alpha", "weights/alpha", "confidence/mean", "confidence/accuracy", "concepts/mean_best_ap",
    "concepts/unique_0.9", "concepts/random_rotation/mean_best_ap", "concepts/random_rotation/unique_0.9",
)  # fmt: skip

_WORDS = {
    "concepts/mean_best_ap": "concepts, mean best AP",
    "concepts/unique_0.9": "concepts at AP ≥ 0.9",
    "concepts/random_rotation/mean_best_ap": "mean best AP, random rotation",
    "concepts/random_rotation/unique_0.9": "concepts at AP ≥ 0.9, random rotation",
}


@dataclass(frozen=True)
class _Side:
    """One of the two.

    Attributes:
        name: its run and, of a path, its place.
        group: what it was judged with; None where it was not judged.
        model: its accuracies.
        figures: signatures by canonical tag.
        measured: the model that they are of: of a training the end of its path, else what was probed.
        directions: with their concepts.
        probed: the model that these are of.
    """

    name: str
    group: JudgedGroup | None
    model: Judged | None
    figures: Mapping[str, float]
    measured: str
    directions: tuple[DirectionConcepts, ...]
    probed: str


def section(found: Sources) -> Section | None:
    """What differs between the two that were named; None where one was.

    Args:
        found: result files.
    """
    if found.second is None:
        return None
    one, other = _side(found), _side(found.second)
    parts = [part for part in (_accuracies(one, other), _signatures(one, other), _concepts(one, other)) if part]
    if not parts:
        return None
    return Section(id="comparison", title="Two models side by side", lead=_lead(one, other), body=joined(parts))


def _side(found: Sources) -> _Side:
    group = best_group(found)
    model = None if group is None else group.models[-1 if group.path else 0]
    name = run_words(found.folder)
    if model is not None and group is not None and len(group.models) > 1:
        name = f"{name}, {model.name}"
    figures, measured = _figures(found, group)
    probe = next((one for one in found.probes if one.record.directions), None)
    directions = () if probe is None else probe.record.directions
    return _Side(name, group, model, figures, measured, directions, "" if probe is None else _probed(probe))


def _probed(probe: Found[ProbeRecord]) -> str:
    return f"{probe.record.model.name} ({run_words(probe.folder)})"


def _figures(found: Sources, group: JudgedGroup | None) -> tuple[dict[str, float], str]:
    """Of the end of the path that was judged, else of what was probed; and which model that is."""
    from lightning_robust.robustness import reference_figures  # the room imports torch: only where it is needed

    for run in found.runs:
        if run.record.wise_ft and group is not None and run.folder == group.folder:
            tags = _without_module(run.record)
            layers = list(dict.fromkeys(tag.split("/")[1] for tag in tags if tag.startswith("kurtosis/")))
            if layers:
                name = f"{run_words(run.folder)}, α = {run.record.wise_ft[-1].alpha:g}"
                return reference_figures(tags, layers, min(layers, key=len), head="head.weight"), name
    for probe in found.probes:
        layers = [layer.name for layer in probe.record.layers]
        if layers:
            return reference_figures(probe.record.scalars, layers, layers[-1]), _probed(probe)
    return {}, ""


def _without_module(record: RunRecord) -> dict[str, float]:
    """Tags of a monitor name layers inside the module that was trained."""
    found = record.wise_ft[-1].signatures
    return {tag.replace("/model.", "/"): value for tag, value in found.items()}


def _lead(one: _Side, other: _Side) -> str:
    if one.model is None or other.model is None:
        return ""
    parts = [f"on the reference {_more(one.model.reference, other.model.reference)}"]
    if one.model.shifts and set(one.model.shifts) == set(other.model.shifts):
        parts.append(f"on the shifts {_more(one.model.shifts_mean, other.model.shifts_mean)}")
    ers = [side.model.robustness.mean.estimate for side in (one, other) if side.model and side.model.robustness]
    if len(ers) == 2:
        parts.append(f"in effective robustness {_more(*ers)}")
    return f"{one.name} less {other.name}: {', '.join(parts)} points."


def _more(one: float, other: float) -> str:
    return percent(one - other, signed=True)


def _accuracies(one: _Side, other: _Side) -> Markup | None:
    if one.model is None or other.model is None:
        return None
    sets = ["reference", *dict.fromkeys((*one.model.shifts, *other.model.shifts))]
    axis = Axis(label="accuracy, %", percent=True, low=0.0, high=1.0)
    pictures = [
        bars(side.name, axis, [*_bars(side.model, sets, tone)], words="Accuracy on each evaluation set.")
        for side, tone in ((one, 1), (other, 2))
        if side.model is not None
    ]
    rows = [*_rows(one.model, other.model, sets)]
    columns = ["", one.name, other.name, "difference"]
    shown = table(columns, rows, caption="Accuracy, %, and effective robustness (ER), points, with 95 % intervals")
    return joined([grid(*pictures), shown, _caution(one, other)])


def _caution(one: _Side, other: _Side) -> Markup:
    said = (
        "Differences are of the two estimates, not paired image by image: evaluate with both models gives paired ones."
    )
    if one.group is not None and other.group is not None and _images(one.group) != _images(other.group):
        said = f"The two were judged on different images: {one.group.data}; {other.group.data}. {said}"
    lines = [side.model.robustness.baseline for side in (one, other) if side.model and side.model.robustness]
    if len(set(lines)) > 1:
        said = f"{said} Their effective robustness is against different baselines."
    return note(said)


def _images(group: JudgedGroup) -> str:
    return group.data.removesuffix(", test images")


def _accuracy(model: Judged, name: str) -> float:
    return model.reference if name == "reference" else model.shifts.get(name, math.nan)


def _bars(model: Judged, sets: list[str], tone: int) -> Iterator[Bar]:
    for name in sets:
        low, high = model.intervals.get(name, (None, None))
        yield Bar(name=name, value=_accuracy(model, name), low=low, high=high, tone=tone)


def _rows(one: Judged, other: Judged, sets: list[str]) -> Iterator[list[str]]:
    for name in sets:
        values = _accuracy(one, name), _accuracy(other, name)
        yield [name, _spanned(one, name), _spanned(other, name), _more(*values)]
    if one.shifts and other.shifts:
        means = one.shifts_mean, other.shifts_mean
        yield ["mean of the shifts", *(percent(mean) for mean in means), _more(*means)]
    if one.robustness is not None and other.robustness is not None:
        for name in dict.fromkeys((*one.robustness.shifts, *other.robustness.shifts)):
            yield _robust(f"ER, {name}", one, other, name)
        yield _robust("ER, mean", one, other, None)


def _spanned(model: Judged, name: str) -> str:
    value = percent(_accuracy(model, name))
    if name not in model.intervals:
        return value
    low, high = model.intervals[name]
    return f"{value} [{percent(low)},\u00a0{percent(high)}]"


def _robust(title: str, one: Judged, other: Judged, name: str | None) -> list[str]:
    cells, values = [], []
    for model in (one, other):
        found = None
        if model.robustness is not None:
            found = model.robustness.mean if name is None else model.robustness.shifts.get(name)
        values.append(math.nan if found is None else found.estimate)
        span = None if found is None else found.prediction or found.interval
        ends = "" if span is None else f" [{percent(span.low, signed=True)},\u00a0{percent(span.high, signed=True)}]"
        cells.append(f"{percent(values[-1], signed=True)}{ends}")
    return [title, *cells, _more(*values)]


def _signatures(one: _Side, other: _Side) -> Markup | None:
    tags = [tag for tag in _SHOWN if tag in one.figures and tag in other.figures]
    if not tags:
        return None
    sides = (one, other)
    rows = [[_WORDS.get(tag) or figure_words(tag), *(number(side.figures[tag]) for side in sides)] for tag in tags]
    caption = "Signatures, on reference images; concepts on their own"
    return table(["signature", one.measured, other.measured], rows, caption=caption)


def _concepts(one: _Side, other: _Side) -> Markup | None:
    if not one.directions or not other.directions:
        return None
    pairs = zip_longest(one.directions[:_DIRECTIONS], other.directions[:_DIRECTIONS])
    rows = [[f"{k}", _said(first), _said(second)] for k, (first, second) in enumerate(pairs, start=1)]
    caption = "The most important directions of both heads: importance, and concepts with average precision"
    return table(["", one.probed, other.probed], rows, caption=caption, left=3)


def _said(direction: DirectionConcepts | None) -> str:
    if direction is None:
        return DASH
    told = [f"{e.concept} {e.average_precision:.2f}" for e in direction.concepts[:_CONCEPTS]]
    mark = ", privileged" if direction.privileged else ""
    return f"{percent(direction.importance)} %{mark}: {'; '.join(told) or 'no concept'}"
