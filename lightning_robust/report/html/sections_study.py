"""The study: effective robustness of many models against what is measured on reference images alone."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import choices, folded, note, number, percent, table
from lightning_robust.report.html.judged import best_group
from lightning_robust.report.html.markup import joined
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import each, told
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.study_said import NEEDED, correlations_of, study_sentence
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.report.study_findings import study_findings
from lightning_robust.report.study_words import SCATTERED, StudyFigure, figure_words
from lightning_robust.results.study_record import StudyRecord, StudyRow

__all__ = ["read_correlations", "section"]

_ER = "er/mean"
_SHAPES = {"zero-shot": "circle", "interpolated": "diamond", "finetuned": "square", "supervised": "triangle",
           "random": "diamond"}  # fmt: skip
_KINDS = {"zero-shot": "zero-shot", "interpolated": "Wise-FT", "finetuned": "finetuned", "supervised": "supervised",
          "random": "untrained"}  # fmt: skip
_SCOPES = {"pretrained": "between pretrained models", "families": "between families", "paths": "along Wise-FT paths",
           "all": "over all rows"}  # fmt: skip
CORRELATIONS = "correlations.csv"


def section(found: Sources) -> Section | None:
    """What a study found; None where none was made.

    Args:
        found: result files.
    """
    if not found.studies:
        return None
    # a page of a study alone has said it in its verdict
    first = found.studies[0]
    lead = "" if best_group(found) is None else study_sentence(first.record, read_correlations(first.folder))
    return Section(id="study", title="Study", lead=lead, body=each(found.studies, _one))


def _one(found: Found[StudyRecord]) -> Markup:
    record = found.record
    correlations = read_correlations(found.folder)
    panels = [(words.words, panel) for words, panel in _scatters(record)]
    failed = [("Not measured", f"{one.model}, {one.step}: {_short(one.reason)}") for one in record.failures]
    said = study_findings(record, correlations_of(correlations)) if correlations else []
    return joined(
        [
            told(failed),
            folded("Signature by signature", *_sentences(said)) if said else None,
            choices("Figure", panels) if panels else None,
            _correlations(correlations) if correlations else None,
            folded(f"All {len(record.rows)} models", _rows(record)),
            folded("How it was measured", *(note(sentence) for sentence in record.conventions)),
        ]
    )


def _sentences(said: Sequence[str]) -> list[Markup]:
    shown = told(("", f"{sentence[:1].upper()}{sentence[1:]}") for sentence in said)
    return [] if shown is None else [shown]


def _short(reason: str) -> str:
    last = reason.strip().splitlines()[-1] if reason.strip() else "no reason was kept"
    return last if len(last) <= 300 else f"{last[:299]}…"


def _scatters(record: StudyRecord) -> Iterator[tuple[StudyFigure, Markup]]:
    for tag in SCATTERED:
        words = figure_words(tag)
        series = [*_paths(record, words), *_points(record, words)]
        if not series:
            continue
        across = Axis(label=words.axis, scale="log" if words.log else "linear")
        up = Axis(label="mean effective robustness, points", percent=True)
        said = "Each mark is a model; lines join the models of one Wise-FT path."
        title = f"Effective robustness and {words.words}"
        yield words, chart(title, across, up, series, words=said, rules=(0.0,))


def _place(row: StudyRow, words: StudyFigure) -> tuple[float, float]:
    return words.factor * row.value(words.tag), row.value(_ER)


def _paths(record: StudyRecord, words: StudyFigure) -> Iterator[Series]:
    families: dict[str, list[StudyRow]] = {}
    for row in record.of_kind("zero-shot", "interpolated", "finetuned"):
        families.setdefault(row.family, []).append(row)
    for rows in families.values():
        if len(rows) > 1:
            ordered = sorted(rows, key=lambda row: row.alpha or 0.0)
            x, y = zip(*(_place(row, words) for row in ordered), strict=True)
            if any(math.isfinite(v) for v in x):
                # without a name: a legend of every family would be longer than the chart
                yield Series(name="", x=x, y=y, tone=0, marks=False, listed=False)


def _points(record: StudyRecord, words: StudyFigure) -> Iterator[Series]:
    label = next((one for one in ("corpus", "backbone") if any(row.labels.get(one) for row in record.rows)), "")
    values = list(dict.fromkeys(row.labels.get(label, "") for row in record.rows))
    tones = {value: 1 + k % 7 for k, value in enumerate(value for value in values if value)}
    for value in values:
        for kind in _SHAPES:
            rows = [row for row in record.of_kind(kind) if row.labels.get(label, "") == value]
            rows = [row for row in rows if all(math.isfinite(v) for v in _place(row, words))]
            if rows:
                yield _series(rows, words, value, kind, tones.get(value, 0))


def _series(rows: Sequence[StudyRow], words: StudyFigure, value: str, kind: str, tone: int) -> Series:
    x, y = zip(*(_place(row, words) for row in rows), strict=True)
    return Series(
        name=f"{value}, {_KINDS[kind]}" if value else _KINDS[kind],
        x=x,
        y=y,
        tone=tone,
        shape=_SHAPES[kind],
        line=False,
        notes=[
            f"{row.name}: {words.short} {number(a)}, ER {percent(b, signed=True)} points"
            for row, a, b in zip(rows, x, y, strict=True)
        ],
    )


def read_correlations(folder: Path) -> list[dict[str, str]]:
    """Rows of the study's correlations; none where it has no such file, or another one.

    Args:
        folder: the study's.
    """
    try:
        with (folder / CORRELATIONS).open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if row.keys() >= NEEDED and None not in row.values()]


def _correlations(rows: Sequence[Mapping[str, str]]) -> Markup:
    panels = []
    for scope, words in _SCOPES.items():
        plain = [r for r in rows if r["scope"] == scope and not r["given"] and r["without_extrapolated"] != "True"]
        cells = [
            [figure_words(r["figure"]).words, r["role"], _rho(r), r["rows"], _p(r["p_holm"]), *_given(rows, r)]
            for r in plain
            if r["role"] in ("signature", "rival")
        ]
        if cells:
            columns = ["figure", "role", "Spearman's ρ [95 %]", "points", "p (Holm)", "given reference accuracy"]
            panels.append((words, table(columns, cells, caption=f"Rank correlation with ER {words}", left=2)))
    return choices("Correlation", panels) if panels else Markup("")


def _given(rows: Sequence[Mapping[str, str]], of: Mapping[str, str]) -> list[str]:
    same = ("scope", "figure", "without_extrapolated")
    held = next((r for r in rows if r["given"] == "reference accuracy" and all(r[k] == of[k] for k in same)), None)
    return ["–" if held is None else _rho(held)]


def _rho(row: Mapping[str, str]) -> str:
    values = [_float(row[name]) for name in ("spearman", "low", "high")]
    if math.isnan(values[0]):
        return "–"
    rho, low, high = (f"{value:+.2f}".replace("-", "−") for value in values)
    return rho if math.isnan(values[1]) else f"{rho} [{low},\u00a0{high}]"  # of one family there is no interval


def _p(text: str) -> str:
    value = _float(text)
    return "–" if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rows(record: StudyRecord) -> Markup:
    shown = [figure_words(tag) for tag in SCATTERED if any(tag in row.figures for row in record.rows)]
    columns = ["model", "kind", "ER, points", *(words.short for words in shown)]
    cells = [
        [
            row.name,
            _KINDS[row.kind],
            percent(row.value(_ER), signed=True),
            *(number(words.factor * row.value(words.tag)) for words in shown),
        ]
        for row in record.rows
    ]
    return table(columns, cells, caption="Every row of the study", left=2)
