"""What sections are built from: paragraphs, tables, notes, choices and embedded pictures."""

import base64
import math
from collections.abc import Sequence

from markupsafe import Markup

from lightning_robust.report.html.axis import written
from lightning_robust.report.html.markup import joined, tag

__all__ = ["DASH", "choices", "facts", "folded", "grid", "note", "number", "paragraph", "percent", "picture", "table"]

DASH = "–"
"""What stands for a figure that was not measured or is not defined."""

Cell = str | Markup


def paragraph(*parts: Cell, class_: str | None = None) -> Markup:
    """A paragraph of text and markup."""
    return tag("p", *parts, class_=class_)


def note(*parts: Cell) -> Markup:
    """A paragraph in small type: how figures were taken, what limits them."""
    return tag("p", *parts, class_="note")


def percent(fraction: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as percent (or, signed, as accuracy points), a dash where there is none.

    Example:
        >>> percent(0.1234), percent(0.05, signed=True), percent(float("nan"))
        ('12.3', '+5.0', '–')
    """
    if fraction is None or not math.isfinite(100 * fraction):
        return DASH
    text = f"{100 * fraction:{'+' if signed else ''}.{digits}f}"
    zero = f"{0:.{digits}f}"
    return (zero if text.lstrip("+-") == zero else text).replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    """A figure to some significant digits, a dash where there is none.

    Example:
        >>> number(1234.5), number(-0.012345), number(3.001), number(3.0), number(None)
        ('1,234', '−0.0123', '3.00', '3', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= 10 ** (digits - 1) or value == int(value):
        return written(f"{value:,.0f}")
    return written(f"{value:#.{digits}g}")


def table(columns: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, caption: str, left: int = 1) -> Markup:
    """A table that scrolls sideways by itself where it is too wide; the first cell of a row is its heading.

    Args:
        columns: titles.
        rows: as many cells in each.
        caption: what it shows, for eyes and screen readers.
        left: so many first columns are words and stand left; the others are figures and stand right.

    Raises:
        ValueError: a row has another number of cells than there are columns.

    Example:
        >>> "<td>1.0</td>" in table(["", "ER"], [["a", "1.0"]], caption="Robustness")
        True
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a table of {len(columns)} columns got a row of {len(row)} cells: {list(row)[:3]}")

    def kind(k: int) -> str | None:
        return "words" if k < left else None

    head = tag("tr", *(tag("th", title, scope="col", class_=kind(k)) for k, title in enumerate(columns)))
    body = [
        tag(
            "tr",
            *(
                tag("th", cell, scope="row", class_=kind(k)) if k == 0 else tag("td", cell, class_=kind(k))
                for k, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def facts(rows: Sequence[tuple[Cell, Cell]]) -> Markup:
    """Names and what they are, as a list of definitions."""
    return tag("dl", *(joined([tag("dt", name), tag("dd", value)]) for name, value in rows), class_="facts")


def folded(summary: Cell, *body: Cell, opened: bool = False, class_: str | None = None) -> Markup:
    """Something that is shown when its summary is chosen; printing shows it always, but for the class ``numbers``."""
    return tag("details", tag("summary", summary), *body, open=opened, class_=class_)


def grid(*parts: Markup) -> Markup:
    """Figures or cards side by side where there is room."""
    return tag("div", *parts, class_="grid")


def choices(label: str, options: Sequence[tuple[str, Markup]], *, first: int = 0) -> Markup:
    """Panels of which one is shown at a time, by a selector that the page's script makes; without it all are shown.

    Args:
        label: what is chosen, such as ``"Layer"``.
        options: name and panel of each; of one alone the panel is all there is.
        first: which one is shown at first.

    Example:
        >>> choices("Layer", [("conv1", Markup("<p>1</p>"))])
        Markup('<p>1</p>')
    """
    if len(options) == 1:
        return options[0][1]
    panels = (tag("div", tag("h4", name), panel, data_option=name) for name, panel in options)
    return tag("div", *panels, class_="choices", data_choices=label, data_first=first)


def picture(data: bytes, alt: str, *, width: int, height: int, kind: str = "png", class_: str | None = None) -> Markup:
    """An image inside the page.

    Args:
        data: the file's bytes; keep them small, all of a page stays below 3 MB.
        alt: what is seen, for those who do not see it; empty for an image that says nothing.
        width: in pixels of the page.
        height: likewise.
        kind: ``"png"``, ``"jpeg"`` or ``"webp"``.
        class_: how it is shown, ``"pixels"`` for tiny images that are enlarged.

    Raises:
        ValueError: another kind.
    """
    if kind not in ("png", "jpeg", "webp"):
        raise ValueError(f"a picture is png, jpeg or webp, got {kind!r}")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return tag("img", src=source, alt=alt, width=width, height=height, decoding="async", class_=class_)
