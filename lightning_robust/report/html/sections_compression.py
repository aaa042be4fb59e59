"""Compression: what networks of lower rank keep of accuracy, size and time."""

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from lightning_robust.report.compress_sentences import compress_sentences, gain_sentence
from lightning_robust.report.compress_summary import Smallest, smallest
from lightning_robust.report.compress_words import (
    all_series,
    count_words,
    file_words,
    kept_words,
    model_words,
    point_label,
    start_words,
)
from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import DASH, folded, grid, note, number, paragraph, percent, table
from lightning_robust.report.html.markup import joined
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import each, minus, told
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord

__all__ = ["section"]

_NO_BREAK = "\u00a0"
_TONES = {"calibrated": 1, "plain": 3, "uniform": 5, "magnitude": 0}
_FOLDED = 8  # networks, more of which are folded away below the charts
_SHAPES = {"calibrated": "circle", "plain": "square", "uniform": "triangle", "magnitude": "diamond"}


def section(found: Sources) -> Section | None:
    """What was compressed; None where nothing was.

    Args:
        found: result files.
    """
    if not found.compressions:
        return None
    body = each(found.compressions, _one)
    return Section(id="compression", title="Compression", lead=_lead(found.compressions[0].record), body=body)


def _lead(record: CompressRecord) -> str:
    if record.near_chance:
        return f"{model_words(record)} is so near to guessing that losing little says nothing."
    fitting = [(one, one.reference) for one in smallest(record) if one.reference is not None and not one.series.masked]
    if not fitting:
        return f"Every smaller network that was made of {model_words(record)} loses more than a point on the reference."
    # of equally small ones that which keeps the shifts too, and that which needed no training
    best, point = min(fitting, key=lambda pair: _order(record, *pair))
    return (
        f"{best.series.words[:1].upper()}{best.series.words[1:]}: {model_words(record)} keeps its accuracy on the "
        f"reference, within one point, at {percent(record.share(point), 0)} % of its {kept_words(record)}"
        f"{_on_shifts(record, best)}{_compared(record, point)}."
    )


def _order(record: CompressRecord, one: Smallest, point: CompressedPoint) -> tuple[int, bool, bool]:
    return round(100 * record.share(point)), one.shifts is None, one.series.tuned


def _on_shifts(record: CompressRecord, best: Smallest) -> str:
    if not record.dense.shifts:
        return ""
    if best.shifts is None:
        return ", while on the shifts every size loses more than a point"
    return f", and on the shifts at {percent(record.share(best.shifts), 0)} %"


def _compared(record: CompressRecord, point: CompressedPoint) -> str:
    """Of a finetuned network, what it is within one point of."""
    if record.tuned_dense(point) is record.dense:
        return ""
    return ", beside the dense network finetuned as long"


def _one(found: Found[CompressRecord]) -> Markup:
    record = found.record
    gain = gain_sentence(record)
    return joined(
        [
            told(_smallest(record)),
            grid(*_charts(record)),
            _networks(record),
            paragraph(minus(gain).replace(" - ", " − ")) if gain else None,
            folded("What the words mean", *(note(sentence) for sentence in compress_sentences(record))),
            folded("How it was measured", *(note(sentence) for sentence in record.conventions)),
        ]
    )


def _smallest(record: CompressRecord) -> Iterator[tuple[str, str]]:
    if record.near_chance:
        return
    for one in smallest(record):
        yield one.series.words, _said(record, one)


def _said(record: CompressRecord, one: Smallest) -> str:
    kept = [None if p is None else f"{percent(record.share(p), 0)} %" for p in (one.reference, one.shifts)]
    words = f"at most one point lost on the reference with {kept[0]} kept" if kept[0] else None
    words = words or "every size loses more than a point on the reference"
    if not record.dense.shifts:
        return f"{words}."
    return f"{words}, {f'on the shifts with {kept[1]}' if kept[1] else 'on the shifts at no size'}."


def _charts(record: CompressRecord) -> Iterator[Markup]:
    across = Axis(label=f"{kept_words(record)} kept, %", percent=True)
    places = [("Accuracy on the reference", False), ("Mean accuracy on the shifts", True)]
    for title, shifts in places[: 2 if record.dense.shifts else 1]:
        whole = record.dense.shifts_mean if shifts else record.dense.reference.accuracy
        lines = [_accuracy(record, one.points, one.words, shifts, tuned=one.tuned) for one in all_series(record)]
        words = f"The line across is the network before it was cut, {percent(whole)} %."
        yield chart(title, across, Axis(label="accuracy, %", percent=True), lines, words=words, rules=(whole,))
    for batch in sorted(record.dense.latency, key=int)[-1:]:
        lines = [
            Series(
                name=one.words,
                x=[record.share(p) for p in one.points],
                y=[_faster(record, p, batch) for p in one.points],
                **_look(one.points[0], tuned=False),
            )
            for one in all_series(record)
            if not one.tuned
        ]
        yield chart(f"Speed, {batch} images at once", across, Axis(label="times as fast"), lines, rules=(1.0,))


def _accuracy(
    record: CompressRecord, points: Sequence[CompressedPoint], name: str, shifts: bool, *, tuned: bool
) -> Series:
    return Series(
        name=name,
        x=[record.share(p) for p in points],
        y=[p.shifts_mean if shifts else p.reference.accuracy for p in points],
        low=() if shifts else [p.reference.low for p in points],
        high=() if shifts else [p.reference.high for p in points],
        **_look(points[0], tuned=tuned),
    )


def _look(point: CompressedPoint, *, tuned: bool) -> dict[str, Any]:
    return {"tone": _TONES.get(point.method, 7), "shape": _SHAPES.get(point.method, "circle"), "dashed": tuned}


def _faster(record: CompressRecord, point: CompressedPoint, batch: str) -> float:
    found = record.speedup(point, batch)
    return float("nan") if found is None else found


def _networks(record: CompressRecord) -> Markup:
    rows = [_row(record, one) for one in record.points]
    shown = table(_columns(record), rows, caption=_caption(record))
    return shown if len(rows) <= _FOLDED else folded(f"All {len(rows)} networks", shown)


def _caption(record: CompressRecord) -> str:
    return f"{model_words(record)}, {record.split} images; less dense: against {start_words(record)}, paired, 95 %"


def _columns(record: CompressRecord) -> list[str]:
    timed = [f"{batch} at once, × as fast" for batch in sorted(record.dense.latency, key=int)]
    return ["network", "kept, %", "parameters", "FLOPs", "file", "reference, %", "less dense, points",
            "shifts, %", "less dense, points", "ER, points", *timed]  # fmt: skip


def _row(record: CompressRecord, point: CompressedPoint) -> list[str]:
    er = None if point.robustness is None else point.robustness.mean
    mark = "†" if er is not None and er.extrapolated else ""
    sizes = (count_words(point.parameters), count_words(point.flops), file_words(point.file_bytes))
    return [
        point_label(record, point),
        percent(record.share(point), 0),
        *(words.replace(" ", _NO_BREAK) for words in sizes),
        percent(point.reference.accuracy),
        _difference(point, point.reference.set),
        percent(point.shifts_mean),
        _difference(point, "shifts"),
        DASH if er is None else percent(er.estimate, signed=True) + mark,
        *(number(record.speedup(point, batch)) for batch in sorted(record.dense.latency, key=int)),
    ]


def _difference(point: CompressedPoint, name: str) -> str:
    one = point.differences.get(name)
    if one is None:
        return DASH
    low, high = percent(one.low, signed=True), percent(one.high, signed=True)
    return f"{percent(one.estimate, signed=True)} [{low},{_NO_BREAK}{high}]"
