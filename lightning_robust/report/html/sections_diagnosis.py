"""Diagnosis: effective robustness predicted from reference images alone, why, and how far to trust it."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from lightning_robust.report.diagnosis_words import (
    coverage_words,
    figure_words,
    in_words,
    interval_words,
    short_models,
    trust_sentences,
)
from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.bars import Bar, bars
from lightning_robust.report.html.blocks import choices, folded, grid, note, number, percent, table
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import each, evenly, told
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.report.study_words import FIGURES
from lightning_robust.results.diagnosis_record import DiagnosedModel, DiagnosisRecord, PredictorSkill, TrainingPoint
from lightning_robust.results.diagnosis_sentence import verdict_sentence

__all__ = ["section"]

_KINDS = {"zero-shot": ("zero-shot CLIP", 1, "circle"), "interpolated": ("Wise-FT, 0 < α < 1", 6, "circle"),
          "finetuned": ("finetuned", 3, "square"), "supervised": ("supervised", 2, "triangle")}  # fmt: skip
_DRAWN = 12
"""Models whose contributions are drawn; of more, evenly chosen ones."""
_TONES = {"robust": "good", "not robust": "bad", "undetermined": None}


def section(found: Sources) -> Section | None:
    """What was diagnosed; None where nothing was.

    Args:
        found: result files.
    """
    if not found.diagnoses:
        return None
    record = found.diagnoses[0].record
    lead = verdict_sentence(record.models[-1], _level(record)) if record.models else ""
    if len(record.models) > 1:
        lead = f"{short_models([m.name for m in record.models])[-1]}: {lead}"
    return Section(
        id="diagnosis",
        title="Diagnosis from reference images alone",
        lead=lead,
        body=each(found.diagnoses, _one),
    )


def _level(record: DiagnosisRecord) -> float | None:
    return None if record.skill.coverage is None else record.skill.coverage.nominal


def _one(found: Found[DiagnosisRecord]) -> Markup:
    record = found.record
    named = list(zip(record.models, short_models([m.name for m in record.models]), strict=True))
    panels = [(name, _model(record, model)) for model, name in evenly(named, _DRAWN)]
    rivals = [one for one in record.skills if one.role == "rival"]
    return joined(
        [
            _verdicts(record, [name for _, name in named]) if len(named) > 1 else None,
            choices("Model", panels) if panels else None,
            tag("h3", "How far to trust it"),
            told(("", sentence) for sentence in trust_sentences(record.skill, rivals)),
            _table_of_points(record, named) if record.points else None,
            _skills(record.skills) if record.skills else None,
            note(f"Calibration: {record.calibration}, SHA-256 {record.calibration_hash}."),
            folded("How it was measured", *(note(sentence) for sentence in record.conventions)),
        ]
    )


def _verdicts(record: DiagnosisRecord, names: Sequence[str]) -> Markup:
    rows = [
        [
            name,
            tag("span", m.verdict, class_=_TONES[m.verdict]),
            percent(m.predicted, signed=True),
            _span(m),
            number(m.distance),
        ]
        for m, name in zip(record.models, names, strict=True)
    ]
    columns = ["model", "verdict", "predicted ER, points", "interval", "distance from the table"]
    return table(columns, rows, caption="Verdicts, from reference images alone", left=2)


def _span(model: DiagnosedModel) -> str:
    if math.isnan(model.low) or math.isnan(model.high):
        return "–"
    return f"[{percent(model.low, signed=True)}, {percent(model.high, signed=True)}]"


def _model(record: DiagnosisRecord, model: DiagnosedModel) -> Markup:
    tags = [*model.figures, *model.contributions]
    said = told(("", in_words(reason, tags)) for reason in model.reasons)
    several = len(record.models) > 1  # of one alone the section's first sentence is the verdict
    verdict = tag("p", verdict_sentence(model, _level(record)), class_=_TONES[model.verdict]) if several else None
    if not model.contributions:
        return joined([verdict, said])
    order = sorted(model.contributions, key=lambda t: -abs(model.contributions[t]))
    rows = [Bar(name=_short(t), value=100 * model.contributions[t], note=_why(model, t)) for t in order]
    moves = bars(
        "What moves the prediction",
        Axis(label="points over the table's mean"),
        rows,
        words="Each bar is what one figure adds to the predicted effective robustness.",
    )
    figures = [[figure_words(t), number(model.figures.get(t)), "yes" if t in model.outside else "no"] for t in order]
    measured = table(["figure", "measured", "outside the table"], figures, caption=f"Figures of {model.name}")
    return joined([verdict, said, grid(moves, measured)])


def _short(name: str) -> str:
    return FIGURES[name].short if name in FIGURES else figure_words(name)


def _why(model: DiagnosedModel, tag_: str) -> str:
    adds = percent(model.contributions[tag_], signed=True)
    return f"{figure_words(tag_)}: measured {number(model.figures.get(tag_))}, adds {adds} points"


def _table_of_points(record: DiagnosisRecord, named: Sequence[tuple[DiagnosedModel, str]]) -> Markup:
    series = [*_points(record.points)]
    known = [p.target for p in record.points if math.isfinite(p.target)]
    if known:
        ends = [min(known), max(known)]
        series.insert(0, Series(name="as measured", x=ends, y=ends, tone=0, marks=False, dashed=True, listed=False))
    words = "Each point was predicted without its family; on the dashed line prediction and measurement agree."
    across = Axis(label="measured effective robustness, points", percent=True)
    up = Axis(label="predicted, points", percent=True)
    shown = chart("The table's models, predicted without their family", across, up, series, words=words)
    models = [
        Bar(name=name, value=100 * m.predicted, low=_points_of(m.low), high=_points_of(m.high), tone=1)
        for m, name in evenly(named, _DRAWN)
        if math.isfinite(m.predicted)
    ]
    if not models:
        return shown
    return grid(shown, bars("Predicted for the models here", Axis(label="effective robustness, points"), models))


def _points_of(value: float) -> float | None:
    return 100 * value if math.isfinite(value) else None


def _points(points: Sequence[TrainingPoint]) -> Iterator[Series]:
    for kind, (words, tone, shape) in _KINDS.items():
        own = [p for p in points if p.kind == kind and math.isfinite(p.predicted)]
        if own:
            yield Series(
                name=words,
                x=[p.target for p in own],
                y=[p.predicted for p in own],
                low=[p.low for p in own],
                high=[p.high for p in own],
                tone=tone,
                shape=shape,
                line=False,
                notes=[f"{p.name}: measured {percent(p.target, signed=True)}, predicted {_predicted(p)}" for p in own],
            )


def _predicted(point: TrainingPoint) -> str:
    span = f"[{percent(point.low, signed=True)}, {percent(point.high, signed=True)}]"
    return f"{percent(point.predicted, signed=True)} {span}"


def _skills(skills: Sequence[PredictorSkill]) -> Markup:
    rows = [
        [
            figure_words(one.name),
            one.role,
            interval_words(one.correlation),
            number(one.r_squared, 2),
            interval_words(one.between_families),
            interval_words(one.within_families),
            coverage_words(one.coverage),
        ]
        for one in skills
    ]
    columns = [
        "predicted from",
        "role",
        "rank correlation",
        "R²",
        "between families",
        "within families",
        "intervals held",
    ]
    return table(columns, rows, caption="Skill on families that were left out, with 95 % intervals", left=2)
