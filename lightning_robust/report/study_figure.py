"""Effective robustness against each signature, a model of the study at each mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from lightning_robust.report.emergence_axis import plain
from lightning_robust.report.study_style import StudyStyle, family_paths, is_extrapolated, study_style
from lightning_robust.report.study_words import SCATTERED, StudyFigure, figure_words
from lightning_robust.results.study_record import StudyRecord, StudyRow

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.robustness.study_correlations import StudyCorrelation

__all__ = ["correlation_words", "scatter_models", "study_figure"]

_COLUMNS = 3
_POINTS = 100.0
_ER = "effective robustness, points"
_NUMBERS = (
    "; above: Spearman's ρ [95 %, families drawn again]\n"
    "CLIPs: between zero-shot models; paths: mean over families of ρ along the Wise-FT path"
)


def study_figure(record: StudyRecord, correlations: Sequence[StudyCorrelation] = ()) -> Figure | None:
    """Draw a panel for each of the paper's signatures that was measured.

    Two rivals, accuracy and confidence, stand beside them. A model is at each mark, its colour the corpus, its shape
    the kind; thin lines go along Wise-FT paths. Vertical bars are the 95 % intervals of line and sampling error, of
    models that are no inner points of a path. What is the same in every model is said in a line instead.

    Args:
        record: The study.
        correlations: Of `study_correlations`; those between pretrained models and along paths stand above each panel.

    Returns:
        None where effective robustness, or all of the signatures, were not measured.
    """
    robust = [row for row in record.rows if math.isfinite(row.value("er/mean"))]
    tags = [tag for tag in SCATTERED if any(math.isfinite(row.value(tag)) for row in robust)]
    if not tags:
        return None
    style = study_style(record)
    still = {tag: value for tag in tags if (value := _constant(record, tag)) is not None}
    shown = [figure_words(tag) for tag in tags if tag not in still]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = Figure(figsize=(10.6, 3.2 * rows + 1.5), dpi=100, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for k, axes in enumerate(grid.flat):
        if k >= len(shown):
            axes.axis("off")
            continue
        scatter_models(axes, record, shown[k], style, bars=True)
        axes.set_title(_title(shown[k], correlations), fontsize=10, loc="left")
        axes.set_ylabel(_ER if k % _COLUMNS == 0 else "", fontsize=9.5)
    title = f"bars: 95 %, line and sampling error{_NUMBERS if correlations else ''}"
    figure.legend(
        handles=style.handles(), loc="outside lower center", ncols=4, frameon=False, fontsize=9.5,
        title=title, title_fontsize=9.5,
    )  # fmt: skip
    figure.suptitle(plain(f"{record.name}: does robustness follow the signatures?"), fontsize=12.5)
    if still:
        words = ", ".join(f"{figure_words(tag).words} ({value:g})" for tag, value in still.items())
        figure.supxlabel(plain(f"not drawn, the same in every model: {words}"), fontsize=9.5)
    return figure


def scatter_models(axes: Axes, record: StudyRecord, shown: StudyFigure, style: StudyStyle, *, bars: bool) -> None:
    """Draw effective robustness against one figure.

    Args:
        axes: The panel.
        record: The study.
        shown: The figure.
        style: Colours of the study.
        bars: whether intervals of robustness are drawn.
    """
    for path in family_paths(record):
        places = [_place(row, shown) for row in path]
        known = [place for place in places if place is not None]
        if len(known) > 1:
            axes.plot(*zip(*known, strict=True), color=style.colour(path[0]), linewidth=0.7, alpha=0.5, zorder=1.5)
    for rows in _alike(record, shown, style):
        mark = style.mark(rows[0])
        x, y = zip(*(place for row in rows if (place := _place(row, shown)) is not None), strict=True)
        axes.plot(x, y, zorder=2 + 0.1 * (rows[0].kind != "interpolated"), **mark)
        if bars and rows[0].kind != "interpolated":
            low, high = ([_POINTS * row.value(f"er/mean/{end}") for row in rows] for end in ("low", "high"))
            axes.vlines(x, low, high, color=mark["color"], linewidth=0.8, alpha=0.45 * mark["alpha"], zorder=1.2)
    axes.axhline(0.0, color="0.35", linewidth=0.8, zorder=1)
    if shown.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())  # 2 × 10⁰, 3 × 10⁰ … run into each other
    elif "0f" in shown.form and shown.factor == 1.0:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(plain(shown.axis), fontsize=9.5)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def correlation_words(one: StudyCorrelation) -> str:
    """A rank correlation and its interval, as in `+0.42 [−0.10, +0.71]`; of one family there is no interval.

    Args:
        one: The correlation.
    """
    found = one.correlation
    if math.isnan(found.estimate):
        return "–"
    ends = "" if math.isnan(found.low) else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"{found.estimate:+.2f}{ends}".replace("-", "−")


def _place(row: StudyRow, shown: StudyFigure) -> tuple[float, float] | None:
    x, y = shown.factor * row.value(shown.tag), _POINTS * row.value("er/mean")
    unknown = not (math.isfinite(x) and math.isfinite(y)) or (shown.log and x <= 0)
    return None if unknown else (x, y)


def _alike(record: StudyRecord, shown: StudyFigure, style: StudyStyle) -> list[list[StudyRow]]:
    """The rows that have a place, those with the same mark together."""
    groups: dict[tuple[str, str, str, bool], list[StudyRow]] = {}
    for row in record.rows:
        if _place(row, shown) is not None:
            key = (row.kind, style.colour(row), row.labels.get("backbone", ""), is_extrapolated(row))
            groups.setdefault(key, []).append(row)
    return list(groups.values())


def _constant(record: StudyRecord, tag: str) -> float | None:
    """The value that a figure has in every model that has it."""
    values = {row.value(tag) for row in record.rows if math.isfinite(row.value(tag))}
    return values.pop() if len(values) == 1 else None


def _title(shown: StudyFigure, correlations: Sequence[StudyCorrelation]) -> str:
    found: Mapping[str, StudyCorrelation] = {
        one.scope: one
        for one in correlations
        if one.figure == shown.tag and not one.given and not one.without_extrapolated
    }
    lines = [
        f"{words} {correlation_words(found[scope])}"
        for scope, words in (("pretrained", "CLIPs"), ("paths", "paths"))
        if scope in found and math.isfinite(found[scope].correlation.estimate)
    ]
    return "\n".join([plain(shown.words), *lines])
