"""Charts as SVG: lines with bands, scatters with intervals; numbers in a table beneath, words for each point."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis, Placed
from lightning_robust.report.html.blocks import folded, table
from lightning_robust.report.html.markup import tag

__all__ = ["MOST_ROWS", "TONES", "Series", "chart", "legend"]

#: Tones of the page's palette: 0 is grey, 1 to 7 are told apart by the colour-blind.
TONES = 8
#: So many rows of numbers stand beneath a chart; of more, evenly chosen ones.
MOST_ROWS = 60
_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 12, 12, 46  # the type is larger on a phone: ticks may not reach the label
_SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One thing that is drawn in a chart.

    Attributes:
        name: its words in the legend and the table.
        x, y: its points; those without a place (NaN, 0 on a logarithm) break the line.
        low, high: an interval about each y; empty for none.
        tone: its colour, in [0, 7]; 0 is grey.
        shape: of its points: ``"circle"``, ``"square"``, ``"diamond"`` or ``"triangle"``.
        line: whether points are joined. dashed: with gaps.
        marks: whether points are drawn.
        band: whether intervals are a band along the line; otherwise a whisker at each point.
        notes: words for each point, shown when it is pointed at; empty: they are made from the figures.
        listed: whether its numbers stand in the table beneath.

    Raises:
        ValueError: lengths that differ, or another tone or shape.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    tone: int = 1
    shape: str = "circle"
    line: bool = True
    dashed: bool = False
    marks: bool = True
    band: bool = False
    notes: Sequence[str] = ()
    listed: bool = True

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.low, self.high, self.notes) if len(part)} | {len(self.y)}
        if lengths != {len(self.x)} or bool(len(self.low)) != bool(len(self.high)):
            raise ValueError(f"series {self.name!r} has parts of different lengths: {len(self.x)} x, {sorted(lengths)}")
        if not 0 <= self.tone < TONES or self.shape not in _SHAPES:
            raise ValueError(f"a tone is in [0, {TONES - 1}] and a shape of {_SHAPES}, got {self.tone}, {self.shape!r}")


def chart(
    title: str, x: Axis, y: Axis, series: Sequence[Series], *, words: str = "", rules: Sequence[float] = ()
) -> Markup:
    """Draw lines and points over two axes, as a figure with legend and a table of the numbers.

    Args:
        title: what it shows; the figure's caption and, with ``words``, what a screen reader says.
        x: the horizontal axis.
        y: the vertical axis.
        series: what is drawn, later ones on top.
        words: what is to be seen in it, in a sentence.
        rules: values of y at which a thin horizontal line stands, such as 0.

    Returns:
        A ``figure`` element; pointing at a point, or the arrow keys, show its words.

    Example:
        >>> line = Series(name="head", x=[0, 1], y=[3.0, 3.2])
        >>> "<svg" in chart("Kurtosis", Axis(label="epoch", whole=True), Axis(label="kurtosis"), [line])
        True
    """
    across = x.placed([v for one in series for v in one.x], _LEFT, _WIDTH - _RIGHT)
    values = [v for one in series for part in (one.y, one.low, one.high) for v in part]
    up = y.placed([*values, *rules], _HEIGHT - _BOTTOM, _TOP)
    drawn = [part for one in series for part in _series(one, across, up)]
    flat = [tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=_at(up(v)), y2=_at(up(v)), class_="rule") for v in rules]
    picture = tag(
        "svg",
        *_axes(across, up),
        *flat,
        *drawn,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title}. {words}".strip(),
        class_="chart",
    )
    return tag("figure", tag("figcaption", title), legend(series), picture, _numbers(title, x, y, series))


def legend(series: Sequence[Series]) -> Markup | None:
    """What each tone and shape means; nothing for one series alone."""
    if len(series) < 2:
        return None
    return tag("ul", *(tag("li", _swatch(one), one.name) for one in series if one.name), class_="legend")


def _swatch(one: Series) -> Markup:
    parts = []
    if one.band and not one.line:
        parts.append(tag("rect", x=0, y=3, width=22, height=8, class_=f"band tone-{one.tone}"))
    if one.line:
        parts.append(tag("line", x1=0, x2=22, y1=7, y2=7, class_=_line_class(one)))
    if one.marks:
        parts.append(_mark(one, 11, 7))
    return tag("svg", *parts, viewBox="0 0 22 14", width=22, height=14, aria_hidden="true", class_="swatch")


def _at(place: float) -> str:
    return f"{place:.1f}"


def _line_class(one: Series) -> str:
    return f"line tone-{one.tone}{' dashed' if one.dashed else ''}"


def _axes(across: Placed, up: Placed) -> Iterator[Markup]:
    left, right, top, bottom = across.start, across.end, up.end, up.start
    for place, text in up.ticks:
        yield tag("line", x1=left, x2=right, y1=_at(place), y2=_at(place), class_="grid-line")
        yield tag("text", text, x=left - 7, y=_at(place), dy="0.35em", class_="tick end")
    for place, text in across.ticks:
        yield tag("line", x1=_at(place), x2=_at(place), y1=bottom, y2=bottom + 4, class_="axis-line")
        yield tag("text", text, x=_at(place), y=bottom + 18, class_="tick middle")
    yield tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis-line")
    yield tag("text", across.axis.label, x=_at((left + right) / 2), y=_HEIGHT - 8, class_="axis-label middle")
    middle = (top + bottom) / 2
    turned = f"rotate(-90 14 {middle:g})"
    yield tag("text", up.axis.label, x=14, y=_at(middle), transform=turned, class_="axis-label middle")


def _series(one: Series, across: Placed, up: Placed) -> Iterator[Markup]:
    seen = [across.axis.drawable(a) and up.axis.drawable(b) for a, b in zip(one.x, one.y, strict=True)]
    if len(one.low) and one.band:
        yield from _bands(one, across, up)
    elif len(one.low):
        yield from _whiskers(one, across, up, seen)
    if one.line:
        for run in _runs(seen):
            points = " ".join(f"{across(one.x[k]):.1f},{up(one.y[k]):.1f}" for k in run)
            yield tag("polyline", points=points, class_=_line_class(one))
    if one.marks:
        for k in (k for k, is_seen in enumerate(seen) if is_seen):
            words = one.notes[k] if len(one.notes) else _words(one, k, across.axis, up.axis)
            yield _mark(one, across(one.x[k]), up(one.y[k]), words)


def _runs(seen: Sequence[bool]) -> Iterator[list[int]]:
    """Stretches of points that follow each other without a gap."""
    run: list[int] = []
    for k, is_seen in enumerate([*seen, False]):
        if is_seen:
            run.append(k)
        elif run:
            yield run
            run = []


def _bands(one: Series, across: Placed, up: Placed) -> Iterator[Markup]:
    whole = [
        across.axis.drawable(a) and up.axis.drawable(b) and up.axis.drawable(c)
        for a, b, c in zip(one.x, one.low, one.high, strict=True)
    ]
    for run in _runs(whole):
        top = [f"{across(one.x[k]):.1f},{up(one.high[k]):.1f}" for k in run]
        under = [f"{across(one.x[k]):.1f},{up(one.low[k]):.1f}" for k in reversed(run)]
        yield tag("polygon", points=" ".join([*top, *under]), class_=f"band tone-{one.tone}")


def _whiskers(one: Series, across: Placed, up: Placed, seen: Sequence[bool]) -> Iterator[Markup]:
    for k, is_seen in enumerate(seen):
        if is_seen and up.axis.drawable(one.low[k]) and up.axis.drawable(one.high[k]):
            place = _at(across(one.x[k]))
            ends = {"y1": _at(up(one.low[k])), "y2": _at(up(one.high[k]))}
            yield tag("line", x1=place, x2=place, class_=f"whisker tone-{one.tone}", **ends)


def _words(one: Series, k: int, x: Axis, y: Axis) -> str:
    span = f" [{y.shown(one.low[k])}, {y.shown(one.high[k])}]" if len(one.low) else ""
    lead = f"{one.name}: " if one.name else ""
    return f"{lead}{x.label} {x.shown(one.x[k])}, {y.label} {y.shown(one.y[k])}{span}"


def _mark(one: Series, x: float, y: float, words: str | None = None) -> Markup:
    look = {"class_": f"mark tone-{one.tone}"}
    title = None if words is None else tag("title", words)
    if one.shape == "circle":
        return tag("circle", title, cx=_at(x), cy=_at(y), r=4, **look)
    corners = {
        "square": ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
        "triangle": ((0, -5), (4.8, 3.8), (-4.8, 3.8)),
    }[one.shape]
    return tag("polygon", title, points=" ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners), **look)


def _numbers(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> Markup | None:
    rows = [
        [one.name, x.shown(one.x[k]), y.shown(one.y[k]), _span(one, k, y)]
        for one in series
        if one.listed
        for k in range(len(one.x))
    ]
    if not rows:
        return None
    step = math.ceil(len(rows) / MOST_ROWS)
    chosen = rows[::step]
    caption = f"{title}: the numbers" + (f" (every {step}. of {len(rows):,})" if step > 1 else "")
    columns = ["", x.label, y.label, "interval"]
    if not any(row[3] for row in chosen):
        columns, chosen = columns[:3], [row[:3] for row in chosen]
    return folded("Numbers", table(columns, chosen, caption=caption), class_="numbers")


def _span(one: Series, k: int, y: Axis) -> str:
    return f"{y.shown(one.low[k])} to {y.shown(one.high[k])}" if len(one.low) else ""
