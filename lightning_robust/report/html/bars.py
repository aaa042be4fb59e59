"""Bars as SVG: one figure for each name, with its interval and its number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import folded, table
from lightning_robust.report.html.markup import tag

__all__ = ["Bar", "bars"]

_WIDTH, _ROW, _LEFT, _RIGHT, _BOTTOM = 480, 30, 150, 58, 46
_MOST = 20  # characters of a name that fit beside its bar


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        name: what it is of. value: its figure; NaN draws no bar and a dash.
        low, high: its interval; None for none.
        tone: its colour, in [0, 7].
        note: words that are shown when it is pointed at; empty: name and figures.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    tone: int = 1
    note: str = ""


def bars(title: str, axis: Axis, rows: Sequence[Bar], *, words: str = "") -> Markup:
    """Draw horizontal bars from zero, as a figure with a table of the numbers.

    Args:
        title: what it shows; the figure's caption.
        axis: of the figures, ``"linear"``.
        rows: the bars, from the top.
        words: what is to be seen in it, in a sentence.

    Raises:
        ValueError: an axis of another scale, on which a bar has no beginning.

    Example:
        >>> "<rect" in bars("Concepts", Axis(label="concepts"), [Bar(name="zero-shot", value=8)])
        True
    """
    if axis.scale != "linear":
        raise ValueError(f"bars begin at zero, which a {axis.scale} axis does not have")
    height = _ROW * len(rows) + _BOTTOM + 8
    values = [0.0, *(v for row in rows for v in (row.value, row.low, row.high) if v is not None)]
    snug = Axis(
        label=axis.label,
        percent=axis.percent,
        whole=axis.whole,
        low=0.0 if axis.low is None and all(v >= 0 or math.isnan(v) for v in values) else axis.low,
        high=axis.high,
    )
    across = snug.placed(values, _LEFT, _WIDTH - _RIGHT)
    bottom = 8 + _ROW * len(rows)
    parts = [
        tag("line", x1=f"{place:.1f}", x2=f"{place:.1f}", y1=8, y2=bottom, class_="grid-line")
        for place, _ in across.ticks
    ]
    parts += [tag("text", text, x=f"{place:.1f}", y=bottom + 18, class_="tick middle") for place, text in across.ticks]
    middle = f"{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}"
    parts.append(tag("text", axis.label, x=middle, y=height - 6, class_="axis-label middle"))
    for k, row in enumerate(rows):
        parts += _bar(row, 8 + _ROW * k, snug, across(0.0), [across(v) for v in _drawn(row)])
    picture = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_label=f"{title}. {words}".strip(),
        class_="chart",
    )
    return tag("figure", tag("figcaption", title), picture, _numbers(title, axis, rows))


def _drawn(row: Bar) -> list[float]:
    """The value and both ends of its interval, as many as there are."""
    if not math.isfinite(row.value):
        return []
    ends = [end for end in (row.low, row.high) if end is not None and math.isfinite(end)]
    return [row.value, *(ends if len(ends) == 2 else [])]


def _bar(row: Bar, top: float, axis: Axis, zero: float, places: Sequence[float]) -> list[Markup]:
    middle = top + _ROW / 2
    name = row.name if len(row.name) <= _MOST else f"{row.name[: _MOST - 1]}…"
    parts = [tag("text", name, x=_LEFT - 8, y=middle, dy="0.35em", class_="tick end")]
    words = row.note or f"{row.name}: {_told(row, axis)}"
    if places:
        start, width = min(zero, places[0]), max(1.0, abs(places[0] - zero))
        look = {"class_": f"bar tone-{row.tone}"}
        parts.append(
            tag(
                "rect", tag("title", words), x=f"{start:.1f}", y=top + 6, width=f"{width:.1f}", height=_ROW - 12, **look
            )
        )
    if len(places) == 3:
        ends = {"x1": f"{places[1]:.1f}", "x2": f"{places[2]:.1f}"}
        parts.append(tag("line", y1=middle, y2=middle, class_="whisker strong", **ends))
    at = max([zero, *places]) + 6
    parts.append(tag("text", axis.shown(row.value, 3), x=f"{at:.1f}", y=middle, dy="0.35em", class_="tick"))
    return parts


def _told(row: Bar, axis: Axis) -> str:
    span = "" if row.low is None or row.high is None else f" [{axis.shown(row.low)}, {axis.shown(row.high)}]"
    return f"{axis.shown(row.value)}{span}"


def _numbers(title: str, axis: Axis, rows: Sequence[Bar]) -> Markup:
    with_span = any(row.low is not None for row in rows)
    cells = [[row.name, axis.shown(row.value), *([_told(row, axis)] if with_span else [])] for row in rows]
    columns = ["", axis.label, *(["with interval"] if with_span else [])]
    return folded("Numbers", table(columns, cells, caption=f"{title}: the numbers"), class_="numbers")
