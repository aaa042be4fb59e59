"""Text from data inside a card: escaped for Markdown, so that nobody's class name becomes a link, a table or HTML."""

import math
import re
import unicodedata
from collections.abc import Sequence

__all__ = ["code", "escaped", "fenced", "one_line", "percent", "points", "slug", "table"]

_ACTIVE = re.compile(r"[\\`*_\[\]<>#|~&!$@^]|:(?=//|[\w+-]*[A-Za-z][\w+-]*:)|(?<=www)\.")
_LEADING = re.compile(r"^(\d{1,9}(?=[.)](?: |$))|(?=[-+](?: |$)|[-=][-= ]*$))")  # what begins a list or a rule
_LONGEST_SLUG = 96


def one_line(text: str) -> str:
    r"""Text on one line: white space and line breaks become single spaces, control characters go.

    Args:
        text: Any text.

    Example:
        >>> one_line("two\nlines\x00")
        'two lines'
    """
    kept = (" " if char.isspace() else char for char in text.encode("utf-8", "replace").decode("utf-8"))
    return " ".join("".join(char for char in kept if unicodedata.category(char) not in ("Cc", "Cf")).split())


def escaped(text: str) -> str:
    r"""Text for Markdown that shows as it is written: no mark-up, HTML, link, formula or emoji comes of it.

    Args:
        text: Any text.

    Example:
        >>> escaped("<script>alert(1)</script> | *bold*")
        '\\<script\\>alert(1)\\</script\\> \\| \\*bold\\*'
    """
    line = _ACTIVE.sub(lambda found: "\\" + found[0], one_line(text))
    return _LEADING.sub(lambda found: found[0] + "\\", line)


def code(text: str) -> str:
    """Text as a span of code, also where it holds backticks, and inside a table.

    Args:
        text: Any text.

    Example:
        >>> code("alpha=0.50.safetensors")
        '`alpha=0.50.safetensors`'
    """
    line = one_line(text).replace("|", "¦")  # inside a table a bar ends the cell, whatever stands around it
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{ticks}{pad}{line or '(empty)'}{pad}{ticks}"


def fenced(text: str, language: str = "python") -> str:
    """Lines of code as a block, with a fence that they do not hold themselves.

    Args:
        text: The lines.
        language: What it is.
    """
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right.

    Args:
        header: Names of the columns, Markdown.
        rows: Cells, Markdown.

    Example:
        >>> print(table(("set", "%"), [("v2", "65.50")]))
        | set | % |
        |---|---:|
        | v2 | 65.50 |
    """
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([_row(header), rule, *(_row(row) for row in rows)])


def percent(fraction: float) -> str:
    """A fraction in percent with two digits; a dash where it is not defined.

    Args:
        fraction: In [0, 1].

    Example:
        >>> percent(0.84853)
        '84.85'
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def points(fraction: float) -> str:
    """A difference of accuracies in points with its sign; a dash where it is not defined.

    Args:
        fraction: In [−1, 1].

    Example:
        >>> points(-0.0149)
        '−1.49'
    """
    return "–" if math.isnan(fraction) else f"{100 * fraction:+.2f}".replace("-", "−")


def slug(text: str) -> str:
    """Text as an identifier: small letters, digits and single dashes, as the Hub takes for data sets and tags.

    Args:
        text: Any text.

    Example:
        >>> slug("ImageNet (ILSVRC 2012) and its natural shifts")
        'imagenet-ilsvrc-2012-and-its-natural-shifts'
    """
    plain = unicodedata.normalize("NFKD", one_line(text)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_SLUG].strip("-") or "unnamed"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
