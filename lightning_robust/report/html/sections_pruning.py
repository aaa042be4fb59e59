"""Pruning of directions: how much of a head can go, beside its controls, as sentences, curves and a table."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import DASH, choices, folded, grid, note, percent, table
from lightning_robust.report.html.markup import joined
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import each, evenly, told
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.report.prune_findings import findings
from lightning_robust.report.prune_many_findings import many_findings
from lightning_robust.report.prune_words import ORDERS, draw_range, fractions_of, record_labels
from lightning_robust.results.prune_record import PruneCurve, PrunedModel, PruneRecord

__all__ = ["section"]

#: Models whose curves are drawn; of more, evenly chosen ones. The table has all.
_DRAWN = 4
_TONES = {"importance": 1, "reduced_rank": 3, "random": 5, "smallest_first": 2, "outlier_features": 7,
          "random_features": 0}  # fmt: skip
_FRACTION = "directions pruned, %"


def section(found: Sources) -> Section | None:
    """What can be pruned; None where nothing was.

    Args:
        found: result files.
    """
    if not found.prunings:
        return None
    sentences = _sentences(found.prunings[0].record)
    lead = sentences[0][1] if sentences else ""
    lead = f"O{lead[1:]}" if lead.startswith("on the ") else lead  # a model's name is spelt as it is
    body = each(found.prunings, lambda one: _one(one, skip=1 if one is found.prunings[0] else 0))
    return Section(id="pruning", title="Pruning directions", lead=lead, body=body)


def _sentences(record: PruneRecord) -> list[tuple[str, str]]:
    labels = record_labels(record)
    asked = [(m, label) for m, label in zip(record.models, labels, strict=True) if m.role == "asked"]
    if len(asked) == 1:
        return findings(record, *asked[0])
    return many_findings(record, labels)


def _one(found: Found[PruneRecord], skip: int) -> Markup:
    record = found.record
    labels = record_labels(record)
    named = list(zip(record.models, labels, strict=True))
    panels = [(label, _panels(model)) for model, label in evenly(named, _DRAWN)]
    missing = [note(sentence) for sentence in record.missing]
    return joined(
        [
            told(_sentences(record)[skip:]),
            choices("Model", panels),
            _headlines(record, labels),
            *missing,
            folded("How it was measured", *(note(sentence) for sentence in record.conventions)),
        ]
    )


def _panels(model: PrunedModel) -> Markup:
    raw = [c for c in model.curves if c.form == "raw" and c.order in _TONES]
    centred = model.curve("importance", "centred")
    curves = [*raw, *([centred] if centred is not None else [])]
    panels = []
    for title, what in (("Reference", "reference"), ("Mean of the shifts", "shifts"), ("Effective robustness", "er")):
        series = [one for curve in curves if (one := _series(model, curve, what)) is not None]
        if series:
            panels.append(_chart(f"{title}, directions pruned", what, series, _FRACTION))
    features = [one for c in model.curves if c.of == "features" and (one := _series(model, c, "reference"))]
    if features:
        panels.append(_chart("Reference, features zeroed", "reference", features, "features zeroed, %"))
    return grid(*panels)


def _chart(title: str, what: str, series: Sequence[Series], across: str) -> Markup:
    label = "mean effective robustness, points" if what == "er" else "accuracy, %"
    words = "The lines show what is left when more and more goes."
    up = Axis(label=label, percent=True, low=None if what == "er" else 0.0)
    rules = (0.0,) if what == "er" else ()
    return chart(title, Axis(label=across, percent=True, low=0.0, high=1.0), up, series, words=words, rules=rules)


def _series(model: PrunedModel, curve: PruneCurve, what: str) -> Series | None:
    draws = _values(model, curve, what)
    if not draws:
        return None
    middle = [draw_range([draw[k] for draw in draws]) for k in range(len(curve.kept))]
    centred = curve.form == "centred"
    several = len(draws) > 1
    return Series(
        name=f"{ORDERS[curve.order].words}{', centred head' if centred else ''}",
        x=curve.fractions,
        y=[mean for mean, _, _ in middle],
        low=[low for _, low, _ in middle] if several else (),
        high=[high for _, _, high in middle] if several else (),
        tone=6 if centred else _TONES[curve.order],
        shape="diamond" if centred else "circle",
        dashed=curve.order != "importance",
        marks=curve.order in ("importance", "outlier_features") and len(curve.kept) <= 40,
        band=several,
        listed=curve.order in ("importance", "outlier_features") or several,
    )


def _values(model: PrunedModel, curve: PruneCurve, what: str) -> tuple[tuple[float, ...], ...]:
    if what == "reference":
        return model.accuracies(curve, model.unpruned.rows[0].set)
    if what == "shifts":
        return model.shift_accuracies(curve)
    nan = float("nan")
    return tuple(tuple(nan if value is None else value for value in draw) for draw in curve.robustness)


def _headlines(record: PruneRecord, labels: Sequence[str]) -> Markup:
    columns = ["model", "accuracy, %", "r", "privileged", "prunable, reference, %", "prunable, shifts, %",
               "centred head, %", "random kept, %", "reduced rank, %"]  # fmt: skip
    rows = [[label, *_cells(model)] for model, label in zip(record.models, labels, strict=True)]
    points = f"{100 * record.points:g}"
    caption = (
        f"Largest share of the r directions that can go and at most {points} point be lost, with its 95 % interval"
    )
    return table(columns, rows, caption=caption)


def _cells(model: PrunedModel) -> Iterator[str]:
    yield percent(model.unpruned.reference)
    yield f"{model.rank_raw:,}"
    yield f"{model.privileged_raw:,}"
    yield _fraction(model, "importance", "reference")
    yield _fraction(model, "importance", "shifts")
    yield _fraction(model, "importance", "reference", "centred")
    yield _fraction(model, "random", "reference")
    yield _fraction(model, "reduced_rank", "reference")


def _fraction(model: PrunedModel, order: str, what: str, form: str = "raw") -> str:
    curve = model.curve(order, form)
    found = () if curve is None else curve.headlines.get(what, ())
    if curve is None or not found or model.near_chance:
        return DASH
    if len(found) > 1:
        mean, low, high = draw_range(fractions_of(curve, what))
        return f"{percent(mean, 0)} ({percent(low, 0)} to {percent(high, 0)})"
    one = found[0].fraction
    return f"{percent(one.estimate, 0)} [{percent(one.low, 0)}, {percent(one.high, 0)}]"
